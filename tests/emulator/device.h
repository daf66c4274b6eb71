// What translated kernels and the emulated driver share.
#ifndef DEVICE_H
#define DEVICE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct Warp Warp;

// The operands of one thread for an instruction that a whole warp executes together.
typedef struct {
    uint32_t in[32];
    uint32_t out[16];
    char *address;
} Operands;

// What a thread knows of itself.
typedef struct {
    uint32_t tid[3], ntid[3], ctaid[3], nctaid[3], lane, warp;
    // Kernel parameters, shared memory of fixed size, and that of the size given at the launch.
    char *params, *shared, *dynamic;
} Thread;

typedef void Instruction(Warp *, uint32_t lanes);

// Waits for the other lanes, lets one of them execute `instruction` for all, and goes on. `number` tells instructions of a kernel apart.
void together(Thread *, Instruction *instruction, Operands *, int number);
// Waits for all threads of the block.
void barrier(Thread *);
_Noreturn void fail(const char *reason);

static inline float as_f32(uint32_t bits) { float value; memcpy(&value, &bits, 4); return value; }
static inline uint32_t of_f32(float value) { uint32_t bits; memcpy(&bits, &value, 4); return bits; }
static inline double as_f64(uint64_t bits) { double value; memcpy(&value, &bits, 8); return value; }
static inline uint64_t of_f64(double value) { uint64_t bits; memcpy(&bits, &value, 8); return bits; }
static inline _Float16 as_f16(uint16_t bits) { _Float16 value; memcpy(&value, &bits, 2); return value; }
static inline uint16_t of_f16(_Float16 value) { uint16_t bits; memcpy(&bits, &value, 2); return bits; }
static inline float as_bf16(uint16_t bits) { return as_f32((uint32_t)bits << 16); }

// To the nearest, to even from the middle.
static inline uint16_t of_bf16(float value)
{
    uint32_t bits = of_f32(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return 0x7fff;
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

// The 19 bits of TF32, to the nearest, away from zero from the middle.
static inline uint32_t to_tf32(uint32_t bits)
{
    return (bits & 0x7f800000) == 0x7f800000 ? bits : (bits + 0x1000) & ~0x1fffu;
}

static inline float saturated(float value) { return value > 0 ? (value < 1 ? value : 1) : 0; }
static inline float min_nan(float a, float b) { return isnan(a) || isnan(b) ? NAN : fminf(a, b); }
static inline float max_nan(float a, float b) { return isnan(a) || isnan(b) ? NAN : fmaxf(a, b); }

static inline int32_t bfe_s32(int32_t a, uint32_t from, uint32_t count)
{
    from &= 255, count &= 255;
    if (count == 0)
        return 0;
    if (from > 31)
        from = 31;
    if (count > 32 - from)
        count = 32 - from;
    return (int32_t)((uint32_t)a << (32 - from - count)) >> (32 - count);
}

static inline uint64_t bfe_u64(uint64_t a, uint32_t from, uint32_t count)
{
    from &= 255, count &= 255;
    if (from > 63 || count == 0)
        return 0;
    a >>= from;
    return count >= 64 ? a : a & ((1ull << count) - 1);
}

// With zeros above, what lies beyond 32 bits is as the instruction for 32 wants it.
static inline uint32_t bfe_u32(uint32_t a, uint32_t from, uint32_t count) { return bfe_u64(a, from, count); }

static inline uint64_t bfi_64(uint64_t a, uint64_t into, uint32_t from, uint32_t count)
{
    from &= 255, count &= 255;
    if (from > 63 || count == 0)
        return into;
    uint64_t mask = (count >= 64 ? ~0ull : (1ull << count) - 1) << from;
    return (into & ~mask) | ((a << from) & mask);
}

static inline uint32_t bfi_32(uint32_t a, uint32_t into, uint32_t from, uint32_t count) { return bfi_64(a, into, from, count); }

static inline uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector)
{
    uint64_t bytes = ((uint64_t)b << 32) | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t which = (selector >> (4 * i)) & 15;
        uint32_t byte = (bytes >> (8 * (which & 7))) & 255;
        if (which & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}

static inline uint64_t reversed(uint64_t value, int bits)
{
    uint64_t result = 0;
    for (int i = 0; i < bits; i++)
        result |= ((value >> i) & 1) << (bits - 1 - i);
    return result;
}

// Any function of three bits: bit `abc` of `table`.
static inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t result = 0;
    for (int i = 0; i < 32; i++) {
        int entry = ((a >> i & 1) << 2) | ((b >> i & 1) << 1) | (c >> i & 1);
        result |= ((table >> entry) & 1) << i;
    }
    return result;
}

#endif
