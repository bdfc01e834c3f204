/* A driver for the registers of a sievit machine, for firmware: C99, no allocation, no libc calls.
 *
 * The registers come from `sievit_registers.h`, which `spec.c_header` writes and
 * `sievit emit --bundle` puts beside this file. How the machine is reached is up to the user: see
 * `sievit_bus`. Everything here can be called again after any error.
 */
#ifndef SIEVIT_DRIVER_H
#define SIEVIT_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "sievit_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The way to a machine. `context` is handed to every function. */
typedef struct {
    void *context;
    /* The 32-bit register at a byte offset. */
    uint32_t (*read32)(void *context, uint32_t offset);
    void (*write32)(void *context, uint32_t offset, uint32_t value);
    /* Bytes into and out of the memory that the machine's windows lie in, at a bus address; with
     * caches, also what makes both sides see the same. Only `sievit_infer` calls them. */
    void (*copy_in)(void *context, uint32_t address, const void *from, size_t bytes);
    void (*copy_out)(void *context, void *to, uint32_t address, size_t bytes);
} sievit_bus;

/* Where a window lies, and how many bytes it has. */
typedef struct {
    uint32_t base;
    uint32_t limit;
} sievit_window;

/* Why a program was stopped: SIEVIT_ERROR_..., and the instruction, counted from 0. */
typedef struct {
    uint32_t code;
    uint32_t pc;
} sievit_fault;

typedef enum {
    SIEVIT_OK = 0,
    SIEVIT_NO_MACHINE,
    SIEVIT_OTHER_VERSION,
    SIEVIT_OTHER_CONFIG,
    SIEVIT_UNALIGNED,
    SIEVIT_NOT_IDLE,
    SIEVIT_LOST,
    SIEVIT_TIMED_OUT,
    SIEVIT_STOPPED,
    SIEVIT_TOO_SMALL
} sievit_result;

/* Whether there is a machine, of this release, of the configuration that an image needs. */
sievit_result sievit_identify(const sievit_bus *bus, uint64_t config_digest);

/* Write all windows, in the order of SIEVIT_WINDOW_...; only while no program runs. */
sievit_result sievit_set_windows(const sievit_bus *bus,
                                 const sievit_window windows[SIEVIT_WINDOW_COUNT]);

/* Start the program. SIEVIT_NOT_IDLE: clear it first. */
sievit_result sievit_start(const sievit_bus *bus);

/* Look at STATUS at most `polls` times until the program has ended. `fault` is written if it was
 * stopped (SIEVIT_STOPPED), and may be null. */
sievit_result sievit_wait(const sievit_bus *bus, uint32_t polls, sievit_fault *fault);

/* Leave the done or error state, stop a running program; look at STATUS at most `polls` times. */
sievit_result sievit_clear(const sievit_bus *bus, uint32_t polls);

/* One picture: input into its window, run, `classes` logits out of the result window, clear. */
sievit_result sievit_infer(const sievit_bus *bus, const sievit_window windows[SIEVIT_WINDOW_COUNT],
                           const void *input, size_t input_bytes, int16_t *logits, size_t classes,
                           uint32_t polls, sievit_fault *fault);

/* A counter by its register, SIEVIT_COUNTER_...; and all of them, in the order of the registers. */
uint64_t sievit_counter(const sievit_bus *bus, uint32_t low_register);
void sievit_counters(const sievit_bus *bus, uint64_t values[SIEVIT_COUNTER_COUNT]);

/* Words for people. Never null. */
const char *sievit_result_text(sievit_result result);
const char *sievit_error_name(uint32_t code);
const char *sievit_error_text(uint32_t code);
const char *sievit_counter_name(size_t index);

#ifdef __cplusplus
}
#endif

#endif
