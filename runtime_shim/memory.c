/* How much of the VM's memory is in use.
 *
 * The C library keeps no count of what it gives out, and Python inside a module takes all its memory from there, object by
 * object. So the heap is walked from one end to the other, block by block, as its allocator (dlmalloc) has laid it out:
 *
 *     … | size of the one before | head | the block's memory … | size … | head | …
 *
 * A head has the size of its block, from one head to the next, and in the bits that are free since sizes are multiples of
 * 16: 1 if the block before it is in use, 2 if it is itself. Blocks begin 8 bytes after a multiple of 16. The heap has
 * segments of whole pages; where another one follows, a head without a size says that this one is over. A page that is not
 * the heap's is all zeros: componentize-py's adapter for WASI took it while the image was made, and is not used any more.
 */
#include "shim.h"

extern unsigned char __heap_base; /* where the heap begins */

enum { PAGE = 1 << 16, SMALLEST = 16, PREVIOUS_IN_USE = 1, IN_USE = 2, FLAGS = 7, OFFSET = 8 };

typedef struct {
    uint32_t size_of_previous;
    uint32_t head;
} Block;

uint64_t memory_size(void) { return (uint64_t)__builtin_wasm_memory_size(0) * PAGE; }

int measure_heap(HeapUse *use) {
    uint64_t end = memory_size(), at = ((uintptr_t)&__heap_base + OFFSET + 15) / 16 * 16 - OFFSET;
    uint32_t previous = PREVIOUS_IN_USE;
    *use = (HeapUse){0, 0};
    while (at < end) {
        uint32_t head = ((Block *)(uintptr_t)at)->head, size = head & ~(uint32_t)FLAGS;
        if (size < SMALLEST) { /* nothing of the heap in the rest of this page */
            at = (at / PAGE + 1) * PAGE;
        } else {
            if ((head & PREVIOUS_IN_USE) != previous) return -1;
            previous = (head & IN_USE) != 0 ? PREVIOUS_IN_USE : 0;
            use->bytes += previous ? size : 0;
            use->blocks += previous;
            at += size;
        }
        if (at % PAGE == 0) { /* the end of a segment */
            at += OFFSET;
            previous = PREVIOUS_IN_USE;
        }
    }
    return at == end + OFFSET ? 0 : -1;
}
