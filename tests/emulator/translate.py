#!/usr/bin/env python3
"""A kernel in PTX as a C function of one thread, for the emulated driver.

usage: translate.py KERNEL.ptx KERNEL.c

Registers become integers of their size; what is computed with them follows from the types of each instruction (PTX ISA 9.0). Only what LLVM
writes for Burn's kernels and ours is known; anything else ends with its text and exit code 1.
"""
import re
import sys

BITS = {"pred": 1, "b8": 8, "u8": 8, "s8": 8, "b16": 16, "u16": 16, "s16": 16, "f16": 16, "bf16": 16, "b32": 32, "u32": 32, "s32": 32,
        "f32": 32, "tf32": 32, "f16x2": 32, "bf16x2": 32, "b64": 64, "u64": 64, "s64": 64, "f64": 64}
FLOATS = ("f16", "bf16", "f32", "f64")
PAIRS = {"f16x2": "f16", "bf16x2": "bf16"}
SPECIAL = {"%laneid": "self->lane", "%warpid": "self->warp", "WARP_SZ": "32", "%clock64": "0", "%lanemask_lt": "((1u << self->lane) - 1)"}
for number, axis in enumerate("xyz"):
    for register in ("tid", "ntid", "ctaid", "nctaid"):
        SPECIAL[f"%{register}.{axis}"] = f"self->{register}[{number}]"
COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
FUNCTIONS = {"sqrt": "sqrt({})", "rsqrt": "1 / sqrt({})", "rcp": "1 / ({})", "sin": "sin({})", "cos": "cos({})", "ex2": "exp2({})",
             "lg2": "log2({})", "tanh": "tanh({})"}
ROUND = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
# Without a meaning where everything happens in order.
NOTHING = ("pragma", "griddepcontrol", "prefetch", "prefetchu", "discard", "nanosleep", "applypriority", "fence", "membar")


class Unknown(Exception):
    pass


def unsigned(bits):
    return "int" if bits == 1 else f"uint{bits}_t"


def c_type(kind):
    if kind in ("f32", "f64", "f16", "bf16"):
        return {"f32": "float", "f64": "double", "f16": "_Float16", "bf16": "float"}[kind]
    return f"int{BITS[kind]}_t" if kind[0] == "s" else unsigned(BITS[kind])


def name(text):
    return re.sub(r"\W", "_", text.lstrip("%"))


def operands(text):
    """Splits at commas that are in no bracket."""
    found, depth, current = [], 0, ""
    for character in text:
        depth += (character in "{[(") - (character in "}])")
        if character == "," and depth == 0:
            found.append(current.strip())
            current = ""
        else:
            current += character
    return found + [current.strip()] if current.strip() else found


def list_of(text):
    return operands(text.strip("{}"))


class Kernel:
    def __init__(self, shared):
        self.shared, self.variables, self.registers, self.parameters, self.tables = shared, {}, {}, {}, {}
        self.lines, self.together = [], set()
        self.count = 0

    def emit(self, line):
        self.lines.append(line)

    # ---- operands

    def bits(self, operand):
        """The bits of an operand."""
        if operand in SPECIAL:
            return SPECIAL[operand]
        if operand.startswith("!"):
            return f"!{self.bits(operand[1:])}"
        if operand in self.registers:
            return f"r_{name(operand)}"
        if re.fullmatch(r"0[fFdD][0-9A-Fa-f]+", operand):
            return f"0x{operand[2:]}ull"
        if re.fullmatch(r"-?(0[xX][0-9A-Fa-f]+|\d+)U?", operand):
            return f"{int(operand.rstrip('U'), 0) & (1 << 64) - 1}ull"
        if symbol := re.fullmatch(r"([A-Za-z_$][\w$.]*)(?:\+(\d+))?", operand):
            return f"((uint64_t)({self.symbol(symbol[1])} + {symbol[2] or 0}))"
        raise Unknown(f"operand {operand}")

    def symbol(self, text):
        if text in self.parameters:
            return f"(self->params + {self.parameters[text][0]})"
        if text in self.variables:
            return f"((char *)v_{name(text)})"
        if text in self.shared:
            return "self->dynamic" if self.shared[text] is None else f"(self->shared + {self.shared[text]})"
        raise Unknown(f"symbol {text}")

    def value(self, operand, kind):
        bits = self.bits(operand)
        if kind == "pred":
            return f"({bits})"
        if kind in FLOATS:
            return f"as_{kind}({bits})"
        return f"(({c_type(kind)})({bits}))"

    def half(self, operand, kind, upper):
        return f"as_{PAIRS[kind]}((uint32_t)({self.bits(operand)}) >> {16 * upper})"

    def address(self, operand):
        inner = operand.strip("[]").strip()
        if offset := re.fullmatch(r"(.*?)\s*\+\s*(-?\d+)", inner):
            return f"((char *)(uintptr_t)({self.bits(offset[1])}) + ({offset[2]}))"
        return f"((char *)(uintptr_t)({self.bits(inner)}))"

    def set(self, register, expression, kind):
        if register == "_":
            return
        if register not in self.registers:
            raise Unknown(f"register {register}")
        to = f"r_{name(register)}"
        if kind == "pred":
            expression = f"({expression}) != 0"
        elif kind in FLOATS:
            expression = f"of_{kind}({expression})"
        elif kind[0] == "s":
            # The sign fills a wider register.
            expression = f"(int{BITS[self.registers[register]]}_t)({c_type(kind)})({expression})"
        else:
            expression = f"({c_type(kind)})({expression})"
        self.emit(f"{to} = {expression};")

    def set_pair(self, register, function, arguments, kind):
        """Both halves of a register by the same function."""
        lower, upper = (f"(uint32_t)of_{PAIRS[kind]}({function(*(self.half(a, kind, i) for a in arguments))})" for i in (0, 1))
        self.set(register, f"{lower} | {upper} << 16", "u32")

    # ---- instructions

    def instruction(self, text):
        if guard := re.match(r"@(!?%[\w.]+)\s+", text):
            self.emit(f"if ({self.bits(guard[1])}) {{")
            text = text[guard.end():]
        opcode, rest = re.match(r"(\S+)\s*(.*)", text, re.S).groups()
        first, *modifiers = opcode.replace("::", ".").split(".")
        kinds = [modifier for modifier in modifiers if modifier in BITS]
        self.dispatch(first, modifiers, kinds, operands(rest), text)
        if guard:
            self.emit("}")

    def dispatch(self, first, modifiers, kinds, ops, text):
        kind = kinds[-1] if kinds else None
        if first in NOTHING:
            return
        handler = getattr(self, f"do_{first}", None)
        if handler is None and first in FUNCTIONS and kind in FLOATS:
            return self.set(ops[0], FUNCTIONS[first].format(f"(double){self.value(ops[1], kind)}"), kind)
        if handler is None:
            raise Unknown(text)
        handler(modifiers, kinds, kind, ops, text)

    def do_bra(self, modifiers, kinds, kind, ops, text):
        self.emit(f"goto L_{name(ops[-1])};")

    def do_brx(self, modifiers, kinds, kind, ops, text):
        cases = " ".join(f"case {i}: goto L_{name(label)};" for i, label in enumerate(self.tables[ops[1]]))
        self.emit(f"switch ({self.value(ops[0], 'u32')}) {{ {cases} default: fail(\"brx\"); }}")

    def do_ret(self, *_):
        self.emit("return;")

    do_exit = do_ret

    def do_trap(self, *_):
        self.emit('fail("a kernel gave up");')

    def do_bar(self, modifiers, kinds, kind, ops, text):
        if "warp" in modifiers:
            return self.collective("warp_sync", [], [])
        if len(ops) > 1 or ops and self.bits(ops[0]) != "0ull":
            raise Unknown(text)
        self.emit("barrier(self);")

    do_barrier = do_bar

    def do_ld(self, modifiers, kinds, kind, ops, text):
        count = next((int(m[1:]) for m in modifiers if m in ("v2", "v4", "v8")), 1)
        registers = list_of(ops[0]) if count > 1 else [ops[0]]
        stored = kind if kind[0] == "s" else f"u{BITS[kind]}"
        self.emit(f"{{ {c_type(stored)} read[{count}]; memcpy(read, {self.address(ops[1])}, sizeof read);")
        for i, register in enumerate(registers):
            self.set(register, f"read[{i}]", stored)
        self.emit("}")

    def do_st(self, modifiers, kinds, kind, ops, text):
        registers = list_of(ops[1]) if ops[1].startswith("{") else [ops[1]]
        stored = f"u{BITS[kind]}"
        values = ", ".join(self.value(register, stored) for register in registers)
        self.emit(f"{{ {c_type(stored)} written[] = {{{values}}}; memcpy({self.address(ops[0])}, written, sizeof written); }}")

    def do_mov(self, modifiers, kinds, kind, ops, text):
        whole = kind if kind == "pred" else f"u{BITS[kind]}"
        to, source = ops
        if to.startswith("{"):
            parts = list_of(to)
            width = BITS[kind] // len(parts)
            self.emit(f"{{ uint64_t whole = {self.value(source, whole)};")
            for i, part in enumerate(parts):
                self.set(part, f"whole >> {i * width}", f"u{width}")
            return self.emit("}")
        if source.startswith("{"):
            parts = list_of(source)
            width = BITS[kind] // len(parts)
            value = " | ".join(f"(uint64_t){self.value(part, f'u{width}')} << {i * width}" for i, part in enumerate(parts))
            return self.set(to, value, whole)
        self.set(to, self.bits(source), whole)

    do_cvta = do_mov

    def arithmetic(self, operator, modifiers, kind, ops, text):
        if "cc" in modifiers:
            raise Unknown(text)
        if kind in PAIRS:
            return self.set_pair(ops[0], lambda a, b: f"{a} {operator} {b}", ops[1:], kind)
        if kind[0] == "s" and "sat" not in modifiers:
            # Unsigned, which may overflow.
            kind = f"u{kind[1:]}"
        value = f"{self.value(ops[1], kind)} {operator} {self.value(ops[2], kind)}"
        if "sat" in modifiers:
            if kind != "f32":
                raise Unknown(text)
            value = f"saturated({value})"
        self.set(ops[0], value, kind)

    def do_add(self, modifiers, kinds, kind, ops, text):
        self.arithmetic("+", modifiers, kind, ops, text)

    def do_sub(self, modifiers, kinds, kind, ops, text):
        self.arithmetic("-", modifiers, kind, ops, text)

    def do_mul(self, modifiers, kinds, kind, ops, text):
        if kind in FLOATS or kind in PAIRS:
            return self.arithmetic("*", modifiers, kind, ops, text)
        self.multiply(modifiers, kind, ops)

    def do_mad(self, modifiers, kinds, kind, ops, text):
        self.multiply(modifiers, kind, ops)

    def multiply(self, modifiers, kind, ops):
        width, signed = BITS[kind], kind[0] == "s"
        wide = ("__int128" if signed else "unsigned __int128") if width == 64 else c_type(f"{kind[0]}{2 * width}")
        product = f"(({wide}){self.value(ops[1], kind)} * ({wide}){self.value(ops[2], kind)})"
        result = f"{kind[0]}{2 * width}" if "wide" in modifiers else f"u{width}"
        if "hi" in modifiers:
            product = f"({product} >> {width})"
        if len(ops) > 3:
            product = f"({c_type(result)}){product} + {self.value(ops[3], result)}"
        self.set(ops[0], product, result)

    def do_fma(self, modifiers, kinds, kind, ops, text):
        if kind in PAIRS:
            return self.set_pair(ops[0], lambda a, b, c: f"fma({a}, {b}, {c})", ops[1:], kind)
        value = f"{'fmaf' if kind == 'f32' else 'fma'}({', '.join(self.value(operand, kind) for operand in ops[1:])})"
        if "sat" in modifiers:
            value = f"saturated({value})"
        if "relu" in modifiers:
            value = f"fmax({value}, 0)"
        self.set(ops[0], value, kind)

    def do_div(self, modifiers, kinds, kind, ops, text):
        if kind not in FLOATS:
            self.emit(f'if ({self.value(ops[2], kind)} == 0) fail("a division by 0");')
        self.set(ops[0], f"{self.value(ops[1], kind)} / {self.value(ops[2], kind)}", kind)

    def do_rem(self, modifiers, kinds, kind, ops, text):
        self.emit(f'if ({self.value(ops[2], kind)} == 0) fail("a division by 0");')
        self.set(ops[0], f"{self.value(ops[1], kind)} % {self.value(ops[2], kind)}", kind)

    def extreme(self, which, modifiers, kind, ops):
        function = f"{which}_nan" if "NaN" in modifiers else f"f{which}"
        if kind in PAIRS:
            return self.set_pair(ops[0], lambda a, b: f"{function}({a}, {b})", ops[1:], kind)
        a, b = self.value(ops[1], kind), self.value(ops[2], kind)
        if kind in FLOATS:
            return self.set(ops[0], f"{function}({a}, {b})", kind)
        self.set(ops[0], f"{a} {'<' if which == 'min' else '>'} {b} ? {a} : {b}", kind)

    def do_min(self, modifiers, kinds, kind, ops, text):
        self.extreme("min", modifiers, kind, ops)

    def do_max(self, modifiers, kinds, kind, ops, text):
        self.extreme("max", modifiers, kind, ops)

    def do_neg(self, modifiers, kinds, kind, ops, text):
        if kind in PAIRS:
            return self.set(ops[0], f"{self.value(ops[1], 'u32')} ^ 0x80008000u", "u32")
        if kind in FLOATS:
            return self.set(ops[0], f"-{self.value(ops[1], kind)}", kind)
        self.set(ops[0], f"0 - {self.value(ops[1], f'u{kind[1:]}')}", f"u{kind[1:]}")

    def do_abs(self, modifiers, kinds, kind, ops, text):
        value = self.value(ops[1], kind)
        self.set(ops[0], f"fabs({value})" if kind in FLOATS else f"{value} < 0 ? -{value} : {value}", kind)

    def logic(self, operator, kind, ops):
        self.set(ops[0], f"{self.value(ops[1], kind)} {operator} {self.value(ops[2], kind)}", kind)

    def do_and(self, modifiers, kinds, kind, ops, text):
        self.logic("&", kind, ops)

    def do_or(self, modifiers, kinds, kind, ops, text):
        self.logic("|", kind, ops)

    def do_xor(self, modifiers, kinds, kind, ops, text):
        self.logic("^", kind, ops)

    def do_not(self, modifiers, kinds, kind, ops, text):
        self.set(ops[0], f"{'!' if kind == 'pred' else '~'}{self.value(ops[1], kind)}", kind)

    def do_shl(self, modifiers, kinds, kind, ops, text):
        width, by, whole = BITS[kind], self.value(ops[2], "u32"), f"u{BITS[kind]}"
        self.set(ops[0], f"{by} >= {width} ? 0 : {self.value(ops[1], whole)} << ({by} & {width - 1})", whole)

    def do_shr(self, modifiers, kinds, kind, ops, text):
        width, by = BITS[kind], self.value(ops[2], "u32")
        if kind[0] == "s":
            return self.set(ops[0], f"{self.value(ops[1], kind)} >> ({by} >= {width} ? {width - 1} : {by})", kind)
        whole = f"u{width}"
        self.set(ops[0], f"{by} >= {width} ? 0 : {self.value(ops[1], whole)} >> ({by} & {width - 1})", whole)

    def do_shf(self, modifiers, kinds, kind, ops, text):
        by = self.value(ops[3], "u32")
        by = f"({by} > 32 ? 32 : {by})" if "clamp" in modifiers else f"({by} & 31)"
        both = f"((uint64_t){self.value(ops[2], 'u32')} << 32 | {self.value(ops[1], 'u32')})"
        self.set(ops[0], f"{both} << {by} >> 32" if "l" in modifiers else f"{both} >> {by}", "u32")

    def do_bfe(self, modifiers, kinds, kind, ops, text):
        self.set(ops[0], f"bfe_{kind}({self.value(ops[1], kind)}, {self.value(ops[2], 'u32')}, {self.value(ops[3], 'u32')})", kind)

    def do_bfi(self, modifiers, kinds, kind, ops, text):
        values = ", ".join([self.value(ops[1], kind), self.value(ops[2], kind), self.value(ops[3], "u32"), self.value(ops[4], "u32")])
        self.set(ops[0], f"bfi_{BITS[kind]}({values})", kind)

    def do_prmt(self, modifiers, kinds, kind, ops, text):
        self.set(ops[0], f"permuted({', '.join(self.value(operand, 'u32') for operand in ops[1:])})", "u32")

    def do_lop3(self, modifiers, kinds, kind, ops, text):
        self.set(ops[0], f"lop3({', '.join(self.value(operand, 'u32') for operand in ops[1:])})", "u32")

    def do_clz(self, modifiers, kinds, kind, ops, text):
        value, long = self.value(ops[1], kind), "ll" if BITS[kind] == 64 else ""
        self.set(ops[0], f"{value} ? __builtin_clz{long}({value}) : {BITS[kind]}", "u32")

    def do_popc(self, modifiers, kinds, kind, ops, text):
        self.set(ops[0], f"__builtin_popcountll({self.value(ops[1], kind)})", "u32")

    def do_brev(self, modifiers, kinds, kind, ops, text):
        self.set(ops[0], f"reversed({self.value(ops[1], kind)}, {BITS[kind]})", kind)

    def compared(self, how, a, b, kind):
        if kind not in FLOATS:
            return f"({a} {COMPARE[how]} {b})"
        unordered = f"isunordered((double){a}, (double){b})"
        if how in ("num", "nan"):
            return unordered if how == "nan" else f"!{unordered}"
        # With a u behind it true for what is no number, without it false.
        base = how[:-1] if how not in COMPARE else how
        return f"({a} {COMPARE[base]} {b} || {unordered})" if base != how else f"({a} {COMPARE[base]} {b} && !{unordered})"

    def do_setp(self, modifiers, kinds, kind, ops, text):
        how, combined = modifiers[0], next((m for m in modifiers[1:] if m in ("and", "or", "xor")), None)
        to = ops[0].split("|")
        if kind in PAIRS:
            if combined:
                raise Unknown(text)
            halves = [self.compared(how, *(self.half(operand, kind, upper) for operand in ops[1:3]), PAIRS[kind]) for upper in (0, 1)]
        else:
            found = self.compared(how, self.value(ops[1], kind), self.value(ops[2], kind), kind)
            halves = [found, f"!{found}"]
            if combined:
                operator = {"and": "&", "or": "|", "xor": "^"}[combined]
                halves = [f"{half} {operator} ({self.bits(ops[3])})" for half in halves]
        self.emit(f"{{ int first = {halves[0]}, second = {halves[1]};")
        for register, half in zip(to, ("first", "second")):
            self.set(register, half, "pred")
        self.emit("(void)second; }")

    def do_selp(self, modifiers, kinds, kind, ops, text):
        whole = f"u{BITS[kind]}"
        self.set(ops[0], f"{self.bits(ops[3])} ? {self.value(ops[1], whole)} : {self.value(ops[2], whole)}", whole)

    def do_copysign(self, modifiers, kinds, kind, ops, text):
        self.set(ops[0], f"copysign({self.value(ops[2], kind)}, {self.value(ops[1], kind)})", kind)

    def do_testp(self, modifiers, kinds, kind, ops, text):
        test = {"finite": "isfinite", "infinite": "isinf", "number": "!isnan", "notanumber": "isnan"}[modifiers[0]]
        self.set(ops[0], f"{test}({self.value(ops[1], kind)})", "pred")

    def do_cvt(self, modifiers, kinds, kind, ops, text):
        to, source = kinds[0], kinds[-1]
        if "pack" in modifiers:
            raise Unknown(text)
        if to in PAIRS and source == "f32":
            upper, lower = (self.value(operand, source) for operand in ops[1:])
            if "relu" in modifiers:
                upper, lower = f"fmaxf({upper}, 0)", f"fmaxf({lower}, 0)"
            return self.set(ops[0], f"(uint32_t)of_{PAIRS[to]}({upper}) << 16 | of_{PAIRS[to]}({lower})", "u32")
        if to == "tf32":
            return self.set(ops[0], f"to_tf32({self.bits(ops[1])})", "u32")
        value = self.value(ops[1], source)
        rounding = next((ROUND[m] for m in modifiers if m in ROUND), None)
        if rounding:
            value = f"{rounding}((double){value})"
        if to in FLOATS:
            return self.set(ops[0], f"saturated({value})" if "sat" in modifiers else value, to)
        if source not in FLOATS and "sat" not in modifiers:
            return self.set(ops[0], value, to)
        # Integers are cut off at the ends of their range; what is no number becomes 0.
        width = BITS[to]
        least, most = (-(1 << width - 1), (1 << width - 1) - 1) if to[0] == "s" else (0, (1 << width) - 1)
        between = f"({c_type(to)})found"
        least = f"({c_type(to)})({least + 1}ll - 1)" if least else "0"
        if source in FLOATS:
            low, high = (-(2.0 ** (width - 1)), 2.0 ** (width - 1)) if to[0] == "s" else (0.0, 2.0 ** width)
            self.emit(f"{{ double found = {value};")
            self.set(ops[0], f"isnan(found) ? 0 : found >= {high} ? ({c_type(to)}){most}ull : found <= {low} ? {least} : {between}", to)
        else:
            self.emit(f"{{ __int128 found = {value};")
            self.set(ops[0], f"found > (__int128){most}ull ? ({c_type(to)}){most}ull : found < {least} ? {least} : {between}", to)
        self.emit("}")

    def do_atom(self, modifiers, kinds, kind, ops, text):
        operation = next((m for m in modifiers if m in ("add", "min", "max", "and", "or", "xor", "exch", "cas")), None)
        if operation is None or kind in PAIRS:
            raise Unknown(text)
        whole = f"u{BITS[kind]}"
        self.emit(f"{{ {c_type(whole)} *place = (void *){self.address(ops[1])}, old, new; do {{ old = *place;")
        if operation == "cas":
            self.emit(f"new = old == {self.value(ops[2], whole)} ? {self.value(ops[3], whole)} : old;")
        else:
            old = f"as_{kind}(old)" if kind in FLOATS else f"(({c_type(kind)})old)"
            other = self.value(ops[2], kind)
            value = {"add": f"{old} + {other}", "min": f"{old} < {other} ? {old} : {other}", "max": f"{old} > {other} ? {old} : {other}",
                     "and": f"{old} & {other}", "or": f"{old} | {other}", "xor": f"{old} ^ {other}", "exch": other}[operation]
            self.emit(f"new = {f'of_{kind}({value})' if kind in FLOATS else value};")
        self.emit("} while (!__sync_bool_compare_and_swap(place, old, new));")
        self.set(ops[0], "old", whole)
        self.emit("}")

    def do_red(self, modifiers, kinds, kind, ops, text):
        self.do_atom(modifiers, kinds, kind, ["_", *ops], text)

    # ---- instructions of a warp

    def collective(self, function, given, taken, address="0"):
        self.count += 1
        self.together.add(function)
        self.emit(f"{{ Operands operands = {{.address = {address}}};")
        for i, value in enumerate(given):
            self.emit(f"operands.in[{i}] = {value};")
        self.emit(f"together(self, {function}, &operands, {self.count});")
        for i, (register, kind) in enumerate(taken):
            self.set(register, f"operands.out[{i}]", kind)
        self.emit("}")

    def words(self, registers):
        return [self.value(register, "u32") for register in registers]

    def do_activemask(self, modifiers, kinds, kind, ops, text):
        self.collective("warp_mask", [], [(ops[0], "u32")])

    def do_shfl(self, modifiers, kinds, kind, ops, text):
        how = next(m for m in modifiers if m in ("idx", "up", "down", "bfly"))
        self.collective(f"shfl_{how}", self.words(ops[1:4]), list(zip(ops[0].split("|"), ("u32", "pred"))))

    def do_vote(self, modifiers, kinds, kind, ops, text):
        how = next(m for m in modifiers if m in ("ballot", "all", "any"))
        self.collective(f"vote_{how}", [f"{self.bits(ops[1])} != 0"], [(ops[0], "u32" if how == "ballot" else "pred")])

    def matrix(self, instruction, modifiers):
        return f"{instruction}{'_trans' if 'trans' in modifiers else ''}_{next(m for m in modifiers if re.fullmatch('x[124]', m))}"

    def do_ldmatrix(self, modifiers, kinds, kind, ops, text):
        registers = [(register, "u32") for register in list_of(ops[0])]
        self.collective(self.matrix("ldmatrix", modifiers), [], registers, self.address(ops[1]))

    def do_stmatrix(self, modifiers, kinds, kind, ops, text):
        self.collective(self.matrix("stmatrix", modifiers), self.words(list_of(ops[1])), [], self.address(ops[0]))

    def do_mma(self, modifiers, kinds, kind, ops, text):
        if kinds[0] != "f32":
            raise Unknown(text)
        given = self.words(register for operand in ops[1:4] for register in list_of(operand))
        self.collective(f"mma_{modifiers[2]}_{kinds[1]}", given, [(register, "u32") for register in list_of(ops[0])])

    def do_wmma(self, modifiers, kinds, kind, ops, text):
        action, shape = modifiers[0], next(m for m in modifiers if re.fullmatch(r"m\d+n\d+k\d+", m))
        if action == "mma":
            given = self.words(register for operand in ops[1:4] for register in list_of(operand))
            # `d` and `c` alone are named where they are products of f16.
            factor = kinds[1] if len(kinds) == 4 else "f16"
            if kinds[0] != "f32":
                raise Unknown(text)
            return self.collective(f"wmma_mma_{shape}_{factor}", given, [(register, "u32") for register in list_of(ops[0])])
        layout = next(m for m in modifiers if m in ("row", "col"))
        function = f"wmma_{action}_{modifiers[1]}_{layout}_{shape}_{kind}"
        if action == "load":
            taken = [(register, "u32") for register in list_of(ops[0])]
            return self.collective(function, self.words(ops[2:]), taken, self.address(ops[1]))
        self.collective(function, self.words([ops[2], *list_of(ops[1])]), [], self.address(ops[0]))


def statements(body):
    """Statements of a function, each brace and each label for itself."""
    current = ""
    for i, character in enumerate(body):
        if character in "{}" and not current.strip():
            yield character
            current = ""
        elif character == ":" and re.fullmatch(r"\s*[$\w.]+", current) and body[i + 1:i + 2] != ":":
            yield f"LABEL {current.strip()}"
            current = ""
        elif character == ";":
            yield current.strip()
            current = ""
        else:
            current += character


def variable(text):
    """A declaration: space, alignment, type, name, number of elements, initial values."""
    pattern = (r"(?:\.(?:visible|extern|weak|common)\s+)*\.(global|const|shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+"
               r"([\w$.%]+)\s*((?:\[\d*\])*)\s*(?:=\s*(.*))?")
    found = re.fullmatch(pattern, text, re.S)
    if not found:
        raise Unknown(text)
    space, alignment, kind, called, dimensions, values = found.groups()
    count = 1
    for dimension in re.findall(r"\[(\d*)\]", dimensions):
        count *= int(dimension or 0)
    return space, int(alignment or BITS[kind] // 8), kind, called, count, values


class Module:
    """What is outside of the kernel."""

    def __init__(self, source):
        source = re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.S)
        source = re.sub(r"^\s*\.(loc|file|version|target|address_size)\b[^\n]*", "", source, flags=re.M)
        self.shared, self.shared_bytes, self.declarations, self.variables = {}, 0, [], {}
        self.kernel = None
        source = source.split(".section")[0]
        while source.strip():
            source = source.lstrip()
            function = re.match(r"(?:\.(?:visible|weak|extern)\s+)*\.(entry|func)\s", source)
            brace, semicolon = source.find("{"), source.find(";")
            if not function:
                self.declare(source[:semicolon].strip())
                source = source[semicolon + 1:]
            elif brace < 0 or 0 <= semicolon < brace:
                source = source[semicolon + 1:]
            else:
                end = self.end_of(source, brace)
                # Functions are inlined where they are called.
                if function[1] == "entry":
                    self.kernel = source[:brace], source[brace + 1:end]
                source = source[end + 1:]

    @staticmethod
    def end_of(source, brace):
        depth = 0
        for i in range(brace, len(source)):
            depth += (source[i] == "{") - (source[i] == "}")
            if depth == 0:
                return i
        raise Unknown("a function without an end")

    def declare(self, text):
        space, alignment, kind, called, count, values = variable(text)
        if space == "shared":
            if count == 0:
                self.shared[called] = None
                return
            start = (self.shared_bytes + alignment - 1) // alignment * alignment
            self.shared[called], self.shared_bytes = start, start + count * BITS[kind] // 8
            return
        values = re.sub(r"0[fF]([0-9A-Fa-f]{8})", r"0x\1", values.strip().strip("{}")) if values else ""
        self.variables[called] = True
        declared = f"{unsigned(BITS[kind])} v_{name(called)}[{count}] __attribute__((aligned({max(alignment, 16)})))"
        self.declarations.append(f"static {declared} = {{{values}}};")


def parameters_of(header):
    """Offset and size of each parameter by name."""
    found, offset = {}, 0
    for text in header[header.find("(") + 1:header.rfind(")")].split(","):
        if not text.strip():
            continue
        aligned = r"(?:\.align\s+\d+\s+)?"
        pattern = rf"\.param\s+{aligned}\.(\w+)\s+(?:\.ptr\s+)?(?:\.\w+\s+)?{aligned}([\w$]+)\s*(?:\[(\d+)\])?"
        match = re.fullmatch(pattern, text.strip())
        if not match:
            raise Unknown(text)
        size = int(match[3] or 1) * BITS[match[1]] // 8
        offset = (offset + 15) // 16 * 16
        found[match[2]] = offset, size
        offset += size
    return found, offset


def translated(source):
    module = Module(source)
    header, body = module.kernel
    kernel = Kernel(module.shared)
    kernel.variables.update(module.variables)
    kernel.parameters, parameter_bytes = parameters_of(header)
    code, label, locals_ = [], None, []
    for statement in statements(body):
        if registers := re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", statement, re.S):
            for text in operands(registers[2]):
                row = re.fullmatch(r"(%?[\w.$]+)<(\d+)>", text)
                for called in [f"{row[1]}{i}" for i in range(int(row[2]))] if row else [text]:
                    kernel.registers[called] = registers[1]
        elif statement.startswith(".local"):
            _, alignment, kind, called, count, _ = variable(statement)
            kernel.variables[called] = True
            locals_.append(f"{unsigned(BITS[kind])} v_{name(called)}[{count}] __attribute__((aligned({max(alignment, 16)})));")
        elif statement.startswith(".shared"):
            module.declare(statement)
        elif targets := re.fullmatch(r"\.branchtargets\s+(.*)", statement, re.S):
            kernel.tables[label] = operands(targets[1])
        elif statement and not statement.startswith(".pragma"):
            label = statement[6:] if statement.startswith("LABEL ") else label
            code.append(statement)
    for statement in code:
        if statement in "{}":
            kernel.emit(statement)
        elif statement.startswith("LABEL "):
            kernel.emit(f"L_{name(statement[6:])}: ;")
        else:
            kernel.instruction(statement)
    entry = re.search(r"\.entry\s+([\w$]+)", header)[1]
    offsets, sizes = ([values[i] for values in kernel.parameters.values()] or [0] for i in (0, 1))
    registers = [f"{unsigned(BITS[kind])} r_{name(called)};" for called, kind in kernel.registers.items()]
    return "\n".join([
        '#include "device.h"',
        *(f"Instruction {function};" for function in sorted(kernel.together)),
        *module.declarations,
        f"int parameters = {len(kernel.parameters)}, parameter_bytes = {parameter_bytes}, shared_bytes = {module.shared_bytes};",
        f"int parameter_offsets[] = {{{', '.join(map(str, offsets))}}}, parameter_sizes[] = {{{', '.join(map(str, sizes))}}};",
        f"void {entry}(Thread *self)\n{{", *registers, *locals_, *kernel.lines, "}", ""])


def main():
    with open(sys.argv[1]) as file:
        source = file.read()
    try:
        text = translated(source)
    except Unknown as unknown:
        sys.exit(f"{sys.argv[1]}: not known to this translator: {unknown}")
    with open(sys.argv[2], "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
