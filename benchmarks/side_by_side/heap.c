/* Counts the bytes that live on the heap and the most there have been since the last reset.
   Preloaded before the C library (LD_PRELOAD); it wraps glibc's allocator and counts what each block really holds. */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static atomic_long now, most;

static void count(long bytes) {
    long here = atomic_fetch_add(&now, bytes) + bytes;
    long seen = atomic_load(&most);
    while (here > seen && !atomic_compare_exchange_weak(&most, &seen, here)) {
    }
}

static void *taken(void *block) {
    if (block) count((long)malloc_usable_size(block));
    return block;
}

void *malloc(size_t size) { return taken(__libc_malloc(size)); }
void *calloc(size_t number, size_t size) { return taken(__libc_calloc(number, size)); }
void *memalign(size_t alignment, size_t size) { return taken(__libc_memalign(alignment, size)); }
void *aligned_alloc(size_t alignment, size_t size) { return taken(__libc_memalign(alignment, size)); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    void *made = taken(__libc_memalign(alignment, size));
    if (!made) return ENOMEM;
    *block = made;
    return 0;
}

void *realloc(void *block, size_t size) {
    long before = block ? (long)malloc_usable_size(block) : 0;
    void *made = __libc_realloc(block, size);
    if (made || !size) count((made ? (long)malloc_usable_size(made) : 0) - before);
    return made;
}

void free(void *block) {
    if (block) count(-(long)malloc_usable_size(block));
    __libc_free(block);
}

long heap_now(void) { return atomic_load(&now); }
long heap_most(void) { return atomic_load(&most); }
void heap_reset(void) { atomic_store(&most, atomic_load(&now)); }
