/* See sievit_driver.h. */
#include "sievit_driver.h"

static const uint32_t window_registers[SIEVIT_WINDOW_COUNT] = {
#define WINDOW(name, base, text) base,
    SIEVIT_WINDOWS(WINDOW)
#undef WINDOW
};

static const uint32_t counter_registers[SIEVIT_COUNTER_COUNT] = {
#define COUNTER(name, low, text) low,
    SIEVIT_COUNTERS(COUNTER)
#undef COUNTER
};

static uint32_t get(const sievit_bus *bus, uint32_t offset)
{
    return bus->read32(bus->context, offset);
}

static void put(const sievit_bus *bus, uint32_t offset, uint32_t value)
{
    bus->write32(bus->context, offset, value);
}

sievit_result sievit_identify(const sievit_bus *bus, uint64_t config_digest)
{
    if (get(bus, SIEVIT_REGISTER_ID) != SIEVIT_MAGIC)
        return SIEVIT_NO_MACHINE;
    if (get(bus, SIEVIT_REGISTER_VERSION) != SIEVIT_VERSION)
        return SIEVIT_OTHER_VERSION;
    if (get(bus, SIEVIT_REGISTER_CONFIG_DIGEST_LOW) != (uint32_t)(config_digest & 0xffffffffu) ||
        get(bus, SIEVIT_REGISTER_CONFIG_DIGEST_HIGH) != (uint32_t)(config_digest >> 32))
        return SIEVIT_OTHER_CONFIG;
    return SIEVIT_OK;
}

sievit_result sievit_set_windows(const sievit_bus *bus,
                                 const sievit_window windows[SIEVIT_WINDOW_COUNT])
{
    for (size_t n = 0; n < SIEVIT_WINDOW_COUNT; n++)
        if (windows[n].base % SIEVIT_ALIGNMENT_BYTES)
            return SIEVIT_UNALIGNED;
    if (get(bus, SIEVIT_REGISTER_STATUS) & SIEVIT_STATUS_BUSY)
        return SIEVIT_NOT_IDLE;
    for (size_t n = 0; n < SIEVIT_WINDOW_COUNT; n++) {
        put(bus, window_registers[n], windows[n].base);
        put(bus, window_registers[n] + 4u, windows[n].limit);
    }
    return SIEVIT_OK;
}

sievit_result sievit_start(const sievit_bus *bus)
{
    if (get(bus, SIEVIT_REGISTER_STATUS))
        return SIEVIT_NOT_IDLE;
    put(bus, SIEVIT_REGISTER_CONTROL, SIEVIT_CONTROL_START);
    return SIEVIT_OK;
}

sievit_result sievit_wait(const sievit_bus *bus, uint32_t polls, sievit_fault *fault)
{
    while (polls--) {
        uint32_t status = get(bus, SIEVIT_REGISTER_STATUS);
        if (status & SIEVIT_STATUS_ERROR) {
            if (fault) {
                fault->code = get(bus, SIEVIT_REGISTER_ERROR_CODE);
                fault->pc = get(bus, SIEVIT_REGISTER_ERROR_PC);
            }
            return SIEVIT_STOPPED;
        }
        if (status & SIEVIT_STATUS_DONE)
            return SIEVIT_OK;
        if (!(status & SIEVIT_STATUS_BUSY))
            return SIEVIT_LOST;
    }
    return SIEVIT_TIMED_OUT;
}

sievit_result sievit_clear(const sievit_bus *bus, uint32_t polls)
{
    put(bus, SIEVIT_REGISTER_CONTROL, SIEVIT_CONTROL_CLEAR);
    while (polls--)
        if (!get(bus, SIEVIT_REGISTER_STATUS))
            return SIEVIT_OK;
    return SIEVIT_TIMED_OUT;
}

sievit_result sievit_infer(const sievit_bus *bus, const sievit_window windows[SIEVIT_WINDOW_COUNT],
                           const void *input, size_t input_bytes, int16_t *logits, size_t classes,
                           uint32_t polls, sievit_fault *fault)
{
    const sievit_window *result = &windows[SIEVIT_WINDOW_RESULT];
    sievit_result ended;

    if (input_bytes > windows[SIEVIT_WINDOW_INPUT].limit || classes > result->limit / 2u)
        return SIEVIT_TOO_SMALL;
    ended = sievit_clear(bus, polls);
    if (ended == SIEVIT_OK)
        ended = sievit_set_windows(bus, windows);
    if (ended != SIEVIT_OK)
        return ended;
    bus->copy_in(bus->context, windows[SIEVIT_WINDOW_INPUT].base, input, input_bytes);
    ended = sievit_start(bus);
    if (ended == SIEVIT_OK)
        ended = sievit_wait(bus, polls, fault);
    if (ended == SIEVIT_OK)
        for (size_t n = 0; n < classes; n++) {
            uint8_t bytes[2];
            uint16_t code;
            bus->copy_out(bus->context, bytes, result->base + 2u * (uint32_t)n, sizeof bytes);
            code = (uint16_t)(bytes[0] | (uint16_t)(bytes[1] << 8));
            logits[n] = (int16_t)(code < 0x8000u ? (int32_t)code : (int32_t)code - 0x10000);
        }
    if (sievit_clear(bus, polls) != SIEVIT_OK && ended == SIEVIT_OK)
        ended = SIEVIT_TIMED_OUT;
    return ended;
}

uint64_t sievit_counter(const sievit_bus *bus, uint32_t low_register)
{
    uint64_t low = get(bus, low_register);
    return low | (uint64_t)get(bus, low_register + 4u) << 32;
}

void sievit_counters(const sievit_bus *bus, uint64_t values[SIEVIT_COUNTER_COUNT])
{
    for (size_t n = 0; n < SIEVIT_COUNTER_COUNT; n++)
        values[n] = sievit_counter(bus, counter_registers[n]);
}

const char *sievit_result_text(sievit_result result)
{
    switch (result) {
    case SIEVIT_OK:
        return "done";
    case SIEVIT_NO_MACHINE:
        return "there is no sievit machine at these registers";
    case SIEVIT_OTHER_VERSION:
        return "the machine is of another release than this driver";
    case SIEVIT_OTHER_CONFIG:
        return "the image is for a machine of another configuration";
    case SIEVIT_UNALIGNED:
        return "a window's base is not a multiple of the alignment";
    case SIEVIT_NOT_IDLE:
        return "the machine is not idle: clear it first";
    case SIEVIT_LOST:
        return "the machine was reset or cleared while it ran";
    case SIEVIT_TIMED_OUT:
        return "the machine did not come to an end in time";
    case SIEVIT_STOPPED:
        return "the machine stopped with an error";
    case SIEVIT_TOO_SMALL:
        return "a window is too small for the input or the logits";
    }
    return "no such result";
}

const char *sievit_error_name(uint32_t code)
{
    switch (code) {
#define ERROR(name, value, text) \
    case value: \
        return #name;
        SIEVIT_ERRORS(ERROR)
#undef ERROR
    default:
        return "?";
    }
}

const char *sievit_error_text(uint32_t code)
{
    switch (code) {
#define ERROR(name, value, text) \
    case value: \
        return text;
        SIEVIT_ERRORS(ERROR)
#undef ERROR
    default:
        return "no such error";
    }
}

const char *sievit_counter_name(size_t index)
{
    static const char *const names[SIEVIT_COUNTER_COUNT] = {
#define COUNTER(name, low, text) #name,
        SIEVIT_COUNTERS(COUNTER)
#undef COUNTER
    };
    return index < SIEVIT_COUNTER_COUNT ? names[index] : "?";
}
