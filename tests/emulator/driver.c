// The part of NVIDIA's driver that Burn's CUDA backend calls, on a CPU. One device, all calls are synchronous.
//
// A kernel's PTX is translated to C by translate.py and compiled. Every thread of a block is a coroutine with a stack of its own. It runs
// until an instruction that the lanes of a warp execute together, or until a barrier: so warps follow one another as far as they can, the
// opposite of what a GPU does. A result that depends on their order, because a barrier is missing, shows with EMULATED_GPU_REVERSED.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "collectives.h"

enum { SUCCESS = 0, INVALID_DEVICE = 101, OUT_OF_MEMORY = 2, INVALID_PTX = 218, NOT_FOUND = 500 };
enum { LANES = 32, STACK = 96 << 10, SHARED = 512 << 10 };

void fail(const char *reason)
{
    fprintf(stderr, "emulated GPU: %s\n", reason);
    abort();
}

static const char *folder(void)
{
    const char *folder = getenv("EMULATED_GPU_FOLDER");
    if (!folder)
        fail("EMULATED_GPU_FOLDER is not set: start the program by scripts/emulate-gpu");
    return folder;
}

// ---- kernels

typedef struct {
    void (*run)(Thread *);
    int parameters, *offsets, *sizes, parameter_bytes, shared_bytes;
    char name[256];
} Kernel;

enum State { RUNNING, TOGETHER, AT_BARRIER, ENDED };

typedef struct {
    Thread thread; // first: a pointer to one is a pointer to the other
    enum State state;
    void *stack_pointer;
    char *stack;
    Instruction *instruction;
    Operands *operands;
    int number;
} Coroutine;

struct Warp {
    Coroutine *lanes;
    int count;
};

Operands *operands(Warp *warp, int lane) { return warp->lanes[lane].operands; }

// What a processor thread works on.
typedef struct {
    void *stack_pointer;
    Coroutine *running, *coroutines;
    int count;
    Kernel *kernel;
} Worker;

static __thread Worker this_worker;

// A coroutine may not keep the address over a switch: never inlined.
static __attribute__((noinline)) Worker *worker(void)
{
    __asm__ volatile("");
    return &this_worker;
}

// Saves what a function must preserve (x86-64, System V) and goes on where `to` was saved.
void switch_stack(void **from, void *to);
__asm__(".text\n.globl switch_stack\n.type switch_stack, @function\nswitch_stack:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

static void wait_as(Coroutine *self, enum State state)
{
    self->state = state;
    switch_stack(&self->stack_pointer, worker()->stack_pointer);
}

void together(Thread *thread, Instruction *instruction, Operands *operands, int number)
{
    Coroutine *self = (Coroutine *)thread;
    self->instruction = instruction, self->operands = operands, self->number = number;
    wait_as(self, TOGETHER);
}

void barrier(Thread *thread) { wait_as((Coroutine *)thread, AT_BARRIER); }

static void run_thread(void)
{
    Coroutine *self = worker()->running;
    worker()->kernel->run(&self->thread);
    wait_as(self, ENDED);
    fail("a thread went on behind its end");
}

static void prepare(Coroutine *coroutine)
{
    void **top = (void **)(((uintptr_t)coroutine->stack + STACK - 64) & ~(uintptr_t)15);
    *--top = NULL;
    *--top = (void *)run_thread;
    for (int saved = 0; saved < 6; saved++)
        *--top = NULL;
    coroutine->stack_pointer = top;
    coroutine->state = RUNNING;
}

static void go_on(Coroutine *coroutine)
{
    Worker *self = worker();
    self->running = coroutine;
    switch_stack(&self->stack_pointer, coroutine->stack_pointer);
}

// Lets a warp run until all of its lanes have ended or wait at a barrier. Lanes that parted meet at the instruction that comes first in the
// kernel. Returns how many wait.
static int run_warp(Warp *warp)
{
    for (;;) {
        for (int lane = 0; lane < warp->count; lane++)
            if (warp->lanes[lane].state == RUNNING)
                go_on(&warp->lanes[lane]);
        Coroutine *first = NULL;
        int waiting = 0;
        for (int lane = 0; lane < warp->count; lane++) {
            Coroutine *candidate = &warp->lanes[lane];
            waiting += candidate->state == AT_BARRIER;
            if (candidate->state == TOGETHER && (!first || candidate->number < first->number))
                first = candidate;
        }
        if (!first)
            return waiting;
        uint32_t lanes = 0;
        for (int lane = 0; lane < warp->count; lane++)
            if (warp->lanes[lane].state == TOGETHER && warp->lanes[lane].number == first->number)
                lanes |= 1u << lane;
        first->instruction(warp, lanes);
        for (int lane = 0; lane < warp->count; lane++)
            if (lanes >> lane & 1)
                warp->lanes[lane].state = RUNNING;
    }
}

typedef struct {
    Kernel *kernel;
    uint32_t grid[3], block[3];
    char *parameters;
    size_t shared_bytes;
    uint64_t next, blocks;
} Launch;

static size_t rounded(size_t bytes) { return (bytes + 1023) / 1024 * 1024; }

static void run_block(Launch *launch, uint64_t number, char *shared, int reversed)
{
    Worker *self = worker();
    const uint32_t *block = launch->block, *grid = launch->grid;
    int count = block[0] * block[1] * block[2], warps = (count + LANES - 1) / LANES;
    if (count > self->count) {
        self->coroutines = realloc(self->coroutines, sizeof(Coroutine) * count);
        for (; self->count < count; self->count++) {
            int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
            self->coroutines[self->count].stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
        }
    }
    self->kernel = launch->kernel;
    for (int i = 0; i < count; i++) {
        Thread *thread = &self->coroutines[i].thread;
        thread->tid[0] = i % block[0], thread->tid[1] = i / block[0] % block[1], thread->tid[2] = i / block[0] / block[1];
        thread->ctaid[0] = number % grid[0], thread->ctaid[1] = number / grid[0] % grid[1], thread->ctaid[2] = number / grid[0] / grid[1];
        memcpy(thread->ntid, block, sizeof thread->ntid);
        memcpy(thread->nctaid, grid, sizeof thread->nctaid);
        thread->lane = i % LANES, thread->warp = i / LANES;
        thread->params = launch->parameters;
        thread->shared = shared;
        thread->dynamic = shared + rounded(launch->kernel->shared_bytes);
        prepare(&self->coroutines[i]);
    }
    int waiting;
    do {
        waiting = 0;
        for (int i = 0; i < warps; i++) {
            int which = reversed ? warps - 1 - i : i, left = count - which * LANES;
            Warp warp = {&self->coroutines[which * LANES], left < LANES ? left : LANES};
            waiting += run_warp(&warp);
        }
        for (int i = 0; i < count; i++)
            if (self->coroutines[i].state == AT_BARRIER)
                self->coroutines[i].state = RUNNING;
    } while (waiting);
}

static void run_blocks(Launch *launch)
{
    // Below 4 GB, as a kernel may keep such an address in 32 bits.
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT;
    char *shared = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, flags, -1, 0);
    int reversed = getenv("EMULATED_GPU_REVERSED") != NULL;
    for (uint64_t number; (number = __sync_fetch_and_add(&launch->next, 1)) < launch->blocks;) {
        // What a kernel did not write is no number.
        memset(shared, 0xff, launch->shared_bytes);
        run_block(launch, number, shared, reversed);
    }
    munmap(shared, SHARED);
}

static void *help(void *launch)
{
    run_blocks(launch);
    Worker *self = worker();
    for (int i = 0; i < self->count; i++)
        munmap(self->coroutines[i].stack, STACK);
    free(self->coroutines);
    return NULL;
}

int cuLaunchKernel(Kernel *kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned x, unsigned y, unsigned z, unsigned dynamic,
                   void *stream, void **arguments, void **extra)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    (void)stream, (void)extra;
    pthread_mutex_lock(&one);
    if (getenv("EMULATED_GPU_VERBOSE"))
        fprintf(stderr, "launch %s grid %u %u %u block %u %u %u\n", kernel->name, grid_x, grid_y, grid_z, x, y, z);
    char *parameters = calloc(1, kernel->parameter_bytes + 16);
    for (int i = 0; i < kernel->parameters; i++)
        memcpy(parameters + kernel->offsets[i], arguments[i], kernel->sizes[i]);
    uint64_t blocks = (uint64_t)grid_x * grid_y * grid_z;
    size_t shared = rounded(kernel->shared_bytes) + dynamic;
    if (shared > SHARED)
        fail("a kernel wants more shared memory than there is");
    Launch launch = {kernel, {grid_x, grid_y, grid_z}, {x, y, z}, parameters, shared, 0, blocks};
    pthread_t helper;
    int helped = blocks > 8 && sysconf(_SC_NPROCESSORS_ONLN) > 1 && pthread_create(&helper, NULL, help, &launch) == 0;
    run_blocks(&launch);
    if (helped)
        pthread_join(helper, NULL);
    free(parameters);
    pthread_mutex_unlock(&one);
    return SUCCESS;
}

// ---- modules

static uint64_t hash(const char *text)
{
    uint64_t value = 14695981039346656037ull;
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * 1099511628211ull;
    return value;
}

int cuModuleLoadData(void **module, const char *ptx)
{
    char base[512], library[520], command[2048];
    snprintf(base, sizeof base, "%s/kernels/%016lx", folder(), hash(ptx));
    snprintf(library, sizeof library, "%s.so", base);
    if (access(library, R_OK) != 0) {
        snprintf(command, sizeof command, "%s.ptx", base);
        FILE *file = fopen(command, "w");
        if (!file || fputs(ptx, file) < 0 || fclose(file) != 0)
            fail("a kernel cannot be written: is there room in EMULATED_GPU_FOLDER?");
        snprintf(command, sizeof command, "\"%s/translate\" '%s' %d", folder(), base, getpid());
        if (system(command) != 0)
            return INVALID_PTX;
    }
    *module = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!*module)
        fprintf(stderr, "emulated GPU: %s\n", dlerror());
    return *module ? SUCCESS : INVALID_PTX;
}

int cuModuleGetFunction(Kernel **function, void *module, const char *name)
{
    Kernel *kernel = calloc(1, sizeof *kernel);
    kernel->run = dlsym(module, name);
    if (!kernel->run)
        return NOT_FOUND;
    kernel->parameters = *(int *)dlsym(module, "parameters");
    kernel->offsets = dlsym(module, "parameter_offsets");
    kernel->sizes = dlsym(module, "parameter_sizes");
    kernel->parameter_bytes = *(int *)dlsym(module, "parameter_bytes");
    kernel->shared_bytes = *(int *)dlsym(module, "shared_bytes");
    snprintf(kernel->name, sizeof kernel->name, "%s", name);
    *function = kernel;
    return SUCCESS;
}

int cuModuleUnload(void *module) { return (void)module, SUCCESS; }
int cuFuncSetAttribute(void *function, int attribute, int value) { return (void)function, (void)attribute, (void)value, SUCCESS; }

// ---- the device: what matters of an H100

int cuInit(unsigned flags) { return (void)flags, SUCCESS; }
int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
int cuDeviceGet(int *device, int number) { return *device = number, number == 0 ? SUCCESS : INVALID_DEVICE; }
int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return (void)device, *bytes = 8ull << 30, SUCCESS; }

int cuDeviceGetName(char *name, int length, int device)
{
    (void)device;
    snprintf(name, length, "emulated GPU");
    return SUCCESS;
}

int cuDeviceGetUuid_v2(char *uuid, int device)
{
    (void)device;
    memset(uuid, 1, 16);
    return SUCCESS;
}

int cuDeviceGetPCIBusId(char *id, int length, int device)
{
    (void)device;
    snprintf(id, length, "0000:01:00.0");
    return SUCCESS;
}

// Numbers: CUdevice_attribute.
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    (void)device;
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break; // threads of a block, along x, along y
    case 4: *value = 64; break; // along z
    case 5: *value = 2147483647; break; // blocks of a grid along x
    case 6: case 7: *value = 65535; break; // along y, along z
    case 8: *value = 48 << 10; break; // shared memory of a block
    case 10: *value = LANES; break;
    case 12: *value = 65536; break; // registers of a block
    case 16: *value = 132; break; // multiprocessors
    case 38: *value = 50 << 20; break; // cache
    case 39: *value = 2048; break; // threads of a multiprocessor
    case 75: *value = 9; break; // compute capability
    case 76: *value = 0; break;
    case 81: *value = 228 << 10; break; // shared memory of a multiprocessor
    case 97: *value = 227 << 10; break; // of a block that asks for it
    default: *value = 0;
    }
    return SUCCESS;
}

static void *context = &context;
int cuDevicePrimaryCtxRetain(void **result, int device) { return (void)device, *result = context, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, SUCCESS; }
int cuCtxSetCurrent(void *asked) { return (void)asked, SUCCESS; }
int cuCtxGetCurrent(void **result) { return *result = context, SUCCESS; }
int cuCtxSynchronize(void) { return SUCCESS; }
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = 0, *greatest = -5, SUCCESS; }

// ---- streams and events: everything has happened when a call returns

static uintptr_t streams;
int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority)
{
    (void)flags, (void)priority;
    *stream = (void *)__sync_add_and_fetch(&streams, 16);
    return SUCCESS;
}
int cuStreamCreate(void **stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }
int cuStreamSynchronize(void *stream) { return (void)stream, SUCCESS; }
int cuStreamDestroy_v2(void *stream) { return (void)stream, SUCCESS; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return (void)stream, (void)event, (void)flags, SUCCESS; }
int cuStreamIsCapturing(void *stream, int *capturing) { return (void)stream, *capturing = 0, SUCCESS; }

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

int cuEventCreate(void **event, unsigned flags) { return (void)flags, *event = calloc(1, sizeof(double)), SUCCESS; }
int cuEventRecord(double *event, void *stream) { return (void)stream, *event = now(), SUCCESS; }
int cuEventSynchronize(void *event) { return (void)event, SUCCESS; }
int cuEventQuery(void *event) { return (void)event, SUCCESS; }
// Events are kept: one may be asked for its time later.
int cuEventDestroy_v2(void *event) { return (void)event, SUCCESS; }
int cuEventElapsedTime(float *milliseconds, double *from, double *to) { return *milliseconds = (*to - *from) * 1e3, SUCCESS; }
int cuEventElapsedTime_v2(float *milliseconds, double *from, double *to) { return cuEventElapsedTime(milliseconds, from, to); }

// ---- memory: that of the host. What was never written is no number.

static int allocate(void **result, size_t bytes)
{
    *result = NULL;
    if (posix_memalign(result, 512, bytes ? bytes : 1) != 0)
        return OUT_OF_MEMORY;
    memset(*result, 0xff, bytes);
    return SUCCESS;
}

int cuMemAlloc_v2(void **result, size_t bytes) { return allocate(result, bytes); }
int cuMemAllocAsync(void **result, size_t bytes, void *stream) { return (void)stream, allocate(result, bytes); }
int cuMemAllocHost_v2(void **result, size_t bytes) { return allocate(result, bytes); }
int cuMemFree_v2(void *memory) { return free(memory), SUCCESS; }
int cuMemFreeAsync(void *memory, void *stream) { return (void)stream, free(memory), SUCCESS; }
int cuMemFreeHost(void *memory) { return free(memory), SUCCESS; }
int cuMemGetInfo_v2(size_t *available, size_t *all) { return *available = 4ull << 30, *all = 8ull << 30, SUCCESS; }

int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) { return (void)stream, memcpy(to, from, bytes), SUCCESS; }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t bytes, void *stream) { return (void)stream, memcpy(to, from, bytes), SUCCESS; }
int cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) { return (void)stream, memmove(to, from, bytes), SUCCESS; }

// CUDA_MEMCPY2D
typedef struct {
    size_t from_x, from_y;
    int from_kind;
    const char *from_host, *from_device;
    void *from_array;
    size_t from_pitch, to_x, to_y;
    int to_kind;
    char *to_host, *to_device;
    void *to_array;
    size_t to_pitch, bytes, rows;
} Copy;

int cuMemcpy2DAsync_v2(const Copy *copy, void *stream)
{
    (void)stream;
    const char *from = (copy->from_kind == 1 ? copy->from_host : copy->from_device) + copy->from_y * copy->from_pitch + copy->from_x;
    char *to = (copy->to_kind == 1 ? copy->to_host : copy->to_device) + copy->to_y * copy->to_pitch + copy->to_x;
    for (size_t row = 0; row < copy->rows; row++)
        memcpy(to + row * copy->to_pitch, from + row * copy->from_pitch, copy->bytes);
    return SUCCESS;
}

int cuGetErrorName(int error, const char **name) { return (void)error, *name = "EMULATED_GPU_ERROR", SUCCESS; }
int cuGetErrorString(int error, const char **text) { return (void)error, *text = "an error of the emulated GPU", SUCCESS; }
