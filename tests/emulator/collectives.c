// Instructions that the lanes of a warp execute together. Layouts of operands: PTX ISA 9.0, sections of each instruction.
#include "collectives.h"

#define FOR_LANES for (int lane = 0; lane < 32; lane++) if (lanes >> lane & 1)
#define IN(lane, i) operands(warp, lane)->in[i]
#define OUT(lane, i) operands(warp, lane)->out[i]

static void expect_all(uint32_t lanes, const char *instruction)
{
    if (lanes != ~0u)
        fail(instruction);
}

void warp_sync(Warp *warp, uint32_t lanes) { (void)warp, (void)lanes; }

void warp_mask(Warp *warp, uint32_t lanes)
{
    FOR_LANES OUT(lane, 0) = lanes;
}

// ---- shuffles and votes

enum Shuffle { UP, DOWN, BUTTERFLY, INDEX };

static void shuffle(Warp *warp, uint32_t lanes, enum Shuffle kind)
{
    uint32_t values[32] = {0};
    FOR_LANES values[lane] = IN(lane, 0);
    FOR_LANES {
        int by = IN(lane, 1) & 31, clamp = IN(lane, 2) & 31, segment = IN(lane, 2) >> 8 & 31;
        int most = (lane & segment) | (clamp & ~segment), least = lane & segment;
        int from = lane, valid = 0;
        switch (kind) {
        case UP: from = lane - by, valid = from >= most; break;
        case DOWN: from = lane + by, valid = from <= most; break;
        case BUTTERFLY: from = lane ^ by, valid = from <= most; break;
        case INDEX: from = least | (by & ~segment), valid = from <= most; break;
        }
        if (!valid || !(lanes >> from & 1))
            from = lane;
        OUT(lane, 0) = values[from];
        OUT(lane, 1) = valid;
    }
}

void shfl_up(Warp *warp, uint32_t lanes) { shuffle(warp, lanes, UP); }
void shfl_down(Warp *warp, uint32_t lanes) { shuffle(warp, lanes, DOWN); }
void shfl_bfly(Warp *warp, uint32_t lanes) { shuffle(warp, lanes, BUTTERFLY); }
void shfl_idx(Warp *warp, uint32_t lanes) { shuffle(warp, lanes, INDEX); }

static uint32_t ballot(Warp *warp, uint32_t lanes)
{
    uint32_t result = 0;
    FOR_LANES if (IN(lane, 0)) result |= 1u << lane;
    return result;
}

void vote_ballot(Warp *warp, uint32_t lanes)
{
    uint32_t votes = ballot(warp, lanes);
    FOR_LANES OUT(lane, 0) = votes;
}

void vote_all(Warp *warp, uint32_t lanes)
{
    uint32_t votes = ballot(warp, lanes);
    FOR_LANES OUT(lane, 0) = votes == lanes;
}

void vote_any(Warp *warp, uint32_t lanes)
{
    uint32_t votes = ballot(warp, lanes);
    FOR_LANES OUT(lane, 0) = votes != 0;
}

// ---- matrices of 8 by 8 values of 16 bits

static void ldmatrix(Warp *warp, uint32_t lanes, int count, int transposed)
{
    expect_all(lanes, "ldmatrix in a part of a warp");
    for (int matrix = 0; matrix < count; matrix++) {
        uint16_t rows[8][8];
        for (int row = 0; row < 8; row++) {
            char *address = operands(warp, matrix * 8 + row)->address;
            if ((uintptr_t)address & 15)
                fail("ldmatrix: an address that is no multiple of 16");
            memcpy(rows[row], address, 16);
        }
        for (int lane = 0; lane < 32; lane++) {
            int row = lane / 4, column = lane % 4 * 2;
            uint16_t first = transposed ? rows[column][row] : rows[row][column];
            uint16_t second = transposed ? rows[column + 1][row] : rows[row][column + 1];
            OUT(lane, matrix) = first | (uint32_t)second << 16;
        }
    }
}

static void stmatrix(Warp *warp, uint32_t lanes, int count, int transposed)
{
    expect_all(lanes, "stmatrix in a part of a warp");
    for (int matrix = 0; matrix < count; matrix++) {
        uint16_t rows[8][8];
        for (int lane = 0; lane < 32; lane++) {
            int row = lane / 4, column = lane % 4 * 2;
            uint16_t first = IN(lane, matrix), second = IN(lane, matrix) >> 16;
            *(transposed ? &rows[column][row] : &rows[row][column]) = first;
            *(transposed ? &rows[column + 1][row] : &rows[row][column + 1]) = second;
        }
        for (int row = 0; row < 8; row++)
            memcpy(operands(warp, matrix * 8 + row)->address, rows[row], 16);
    }
}

#define MATRICES(count) \
    void ldmatrix_x##count(Warp *warp, uint32_t lanes) { ldmatrix(warp, lanes, count, 0); } \
    void ldmatrix_trans_x##count(Warp *warp, uint32_t lanes) { ldmatrix(warp, lanes, count, 1); } \
    void stmatrix_x##count(Warp *warp, uint32_t lanes) { stmatrix(warp, lanes, count, 0); } \
    void stmatrix_trans_x##count(Warp *warp, uint32_t lanes) { stmatrix(warp, lanes, count, 1); }
MATRICES(1)
MATRICES(2)
MATRICES(4)

// ---- products

enum Kind { TF32, F16, BF16 };

// One value of a register: all of it, or its lower or upper half.
static float value_of(uint32_t bits, enum Kind kind, int upper)
{
    if (kind == TF32)
        return as_f32(bits & ~0x1fffu);
    uint16_t half = bits >> (upper ? 16 : 0);
    return kind == F16 ? (float)as_f16(half) : as_bf16(half);
}

// `c += a * b` for 16 rows, 8 columns and `depth` products.
static void multiply(float c[16][8], float a[16][16], float b[16][8], int depth)
{
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < depth; k++)
            for (int column = 0; column < 8; column++)
                c[row][column] += a[row][k] * b[k][column];
}

static void mma(Warp *warp, uint32_t lanes, enum Kind kind)
{
    expect_all(lanes, "mma in a part of a warp");
    float a[16][16], b[16][8], c[16][8];
    // A register holds two neighbours of 16 bits, or one value of TF32.
    int wide = kind == TF32 ? 1 : 2;
    for (int lane = 0; lane < 32; lane++) {
        int group = lane / 4, place = lane % 4 * wide;
        for (int part = 0; part < wide; part++) {
            for (int i = 0; i < 4; i++)
                a[group + i % 2 * 8][place + i / 2 * 4 * wide + part] = value_of(IN(lane, i), kind, part);
            for (int i = 0; i < 2; i++)
                b[place + i * 4 * wide + part][group] = value_of(IN(lane, 4 + i), kind, part);
        }
        for (int i = 0; i < 4; i++)
            c[group + i / 2 * 8][lane % 4 * 2 + i % 2] = as_f32(IN(lane, 6 + i));
    }
    multiply(c, a, b, 8 * wide);
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++)
            OUT(lane, i) = of_f32(c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
}

void mma_m16n8k16_bf16(Warp *warp, uint32_t lanes) { mma(warp, lanes, BF16); }
void mma_m16n8k16_f16(Warp *warp, uint32_t lanes) { mma(warp, lanes, F16); }
void mma_m16n8k8_tf32(Warp *warp, uint32_t lanes) { mma(warp, lanes, TF32); }

// ---- wmma, whose layout is the device's own: here each lane has the next values of a tile by rows

static size_t size_of(enum Kind kind) { return kind == TF32 ? 4 : 2; }

static char *element(Warp *warp, int lane, int rows_first, int row, int column, enum Kind kind)
{
    int64_t stride = IN(lane, 0);
    return operands(warp, lane)->address + (rows_first ? row * stride + column : column * stride + row) * size_of(kind);
}

static void wmma_load(Warp *warp, uint32_t lanes, int rows, int columns, int rows_first, enum Kind kind)
{
    expect_all(lanes, "wmma.load in a part of a warp");
    int each = rows * columns / 32;
    for (int lane = 0; lane < 32; lane++) {
        memset(operands(warp, lane)->out, 0, sizeof operands(warp, lane)->out);
        for (int i = 0; i < each; i++) {
            int at = lane * each + i;
            char *from = element(warp, lane, rows_first, at / columns, at % columns, kind);
            if (kind == TF32) {
                memcpy(&OUT(lane, i), from, 4);
            } else {
                uint16_t half;
                memcpy(&half, from, 2);
                OUT(lane, i / 2) |= (uint32_t)half << (i % 2 * 16);
            }
        }
    }
}

static void wmma_store(Warp *warp, uint32_t lanes, int rows, int columns, int rows_first)
{
    // Burn's kernel that times products stores from one lane, which has no meaning.
    if (lanes != ~0u)
        return;
    int each = rows * columns / 32;
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < each; i++) {
            int at = lane * each + i;
            memcpy(element(warp, lane, rows_first, at / columns, at % columns, TF32), &IN(lane, 1 + i), 4);
        }
}

// `a` and `b` take so many registers each; the sums, float32, come behind.
static void wmma(Warp *warp, uint32_t lanes, int m, int n, int k, enum Kind kind, int a_registers, int b_registers)
{
    expect_all(lanes, "wmma.mma in a part of a warp");
    float a[32 * 16], b[32 * 16], c[32 * 32];
    int each_a = m * k / 32, each_b = k * n / 32, each_c = m * n / 32, halves = kind == TF32 ? 1 : 2;
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < each_a; i++)
            a[lane * each_a + i] = value_of(IN(lane, i / halves), kind, i % halves);
        for (int i = 0; i < each_b; i++)
            b[lane * each_b + i] = value_of(IN(lane, a_registers + i / halves), kind, i % halves);
        for (int i = 0; i < each_c; i++)
            c[lane * each_c + i] = as_f32(IN(lane, a_registers + b_registers + i));
    }
    for (int row = 0; row < m; row++)
        for (int inner = 0; inner < k; inner++)
            for (int column = 0; column < n; column++)
                c[row * n + column] += a[row * k + inner] * b[inner * n + column];
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < each_c; i++)
            OUT(lane, i) = of_f32(c[lane * each_c + i]);
}

#define OPERAND(which, layout, rows_first, m, n, k, type, rows, columns, kind) \
    void wmma_load_##which##_##layout##_m##m##n##n##k##k##_##type(Warp *warp, uint32_t lanes) \
    { wmma_load(warp, lanes, rows, columns, rows_first, kind); }
#define STORE(layout, rows_first, m, n, k) \
    void wmma_store_d_##layout##_m##m##n##n##k##k##_f32(Warp *warp, uint32_t lanes) { wmma_store(warp, lanes, m, n, rows_first); }
#define SHAPE(m, n, k, type, kind, a_registers, b_registers) \
    OPERAND(a, row, 1, m, n, k, type, m, k, kind) OPERAND(a, col, 0, m, n, k, type, m, k, kind) \
    OPERAND(b, row, 1, m, n, k, type, k, n, kind) OPERAND(b, col, 0, m, n, k, type, k, n, kind) \
    void wmma_mma_m##m##n##n##k##k##_##type(Warp *warp, uint32_t lanes) \
    { wmma(warp, lanes, m, n, k, kind, a_registers, b_registers); }
#define SUMS(m, n, k) \
    OPERAND(c, row, 1, m, n, k, f32, m, n, TF32) OPERAND(c, col, 0, m, n, k, f32, m, n, TF32) STORE(row, 1, m, n, k) STORE(col, 0, m, n, k)
SHAPE(16, 16, 16, f16, F16, 8, 8)
SHAPE(16, 16, 16, bf16, BF16, 4, 4)
SHAPE(32, 8, 16, f16, F16, 8, 8)
SHAPE(32, 8, 16, bf16, BF16, 8, 2)
SHAPE(8, 32, 16, f16, F16, 8, 8)
SHAPE(8, 32, 16, bf16, BF16, 2, 8)
SHAPE(16, 16, 8, tf32, TF32, 4, 4)
SUMS(16, 16, 16)
SUMS(32, 8, 16)
SUMS(8, 32, 16)
SUMS(16, 16, 8)
