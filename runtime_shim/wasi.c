/* What the C library inside the module finds in place of an operating system.
 *
 * The interpreter's C library talks to WASI 0.2, whose functions no proxy offers. Each function here takes the place of
 * one of them: `wasi:clocks/wall-clock` `now` is exported as "wasi:clocks/wall-clock#now" (the linker matches them by
 * that name) and has the type that the Canonical ABI gives it. A result of more than one value is written to `out`,
 * the last parameter; a `result<…>` starts with one byte, 0 for ok and 1 for error; lists are allocated with `malloc`
 * and freed by the caller.
 *
 * Only functions that need no handle, and those of the standard streams, are here: files, sockets and timers cannot be
 * opened, so nobody ever holds a handle to call the others with.
 */
#include "proxy_wasm_abi.h"

void *malloc(size_t size);

#define REPLACES(interface, name) __attribute__((export_name(interface "#" name)))

enum { STDIN = 0, STDOUT = 1, STDERR = 2, NO_HANDLE = 3 };
enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1 };

static const uint64_t SECOND = 1000000000;

typedef struct {
    void *data;
    size_t size;
} List;

/* Clocks */

typedef struct {
    uint64_t seconds;
    uint32_t nanoseconds;
} Datetime;

static uint64_t clock_now(uint32_t clock) {
    uint64_t now = 0;
    clock_time_get(clock, 1, &now);
    return now;
}

REPLACES("wasi:clocks/wall-clock", "now") void wall_clock_now(Datetime *out) {
    uint64_t now = clock_now(CLOCK_REALTIME);
    *out = (Datetime){now / SECOND, (uint32_t)(now % SECOND)};
}

REPLACES("wasi:clocks/wall-clock", "resolution") void wall_clock_resolution(Datetime *out) { *out = (Datetime){0, 1}; }

REPLACES("wasi:clocks/monotonic-clock", "now") uint64_t monotonic_clock_now(void) { return clock_now(CLOCK_MONOTONIC); }

REPLACES("wasi:clocks/monotonic-clock", "resolution") uint64_t monotonic_clock_resolution(void) { return 1; }

/* A wait ends at once: a filter must not block its worker, and Python's own sleep raises an error before this. */

REPLACES("wasi:clocks/monotonic-clock", "subscribe-instant") uint32_t subscribe_instant(uint64_t when) { return NO_HANDLE; }

REPLACES("wasi:clocks/monotonic-clock", "subscribe-duration") uint32_t subscribe_duration(uint64_t when) {
    return NO_HANDLE;
}

REPLACES("wasi:io/poll", "[method]pollable.block") void pollable_block(uint32_t pollable) {}

REPLACES("wasi:io/poll", "[resource-drop]pollable") void pollable_drop(uint32_t pollable) {}

REPLACES("wasi:io/poll", "poll") void poll_poll(const uint32_t *pollables, size_t count, List *out) {
    uint32_t *ready = malloc(count * sizeof(uint32_t));
    if (ready == NULL) count = 0;
    for (size_t i = 0; i < count; i++) ready[i] = (uint32_t)i;
    *out = (List){ready, count};
}

/* Randomness */

REPLACES("wasi:random/random", "get-random-bytes") void get_random_bytes(uint64_t size, List *out) {
    static const size_t MOST_AT_ONCE = 65536; /* hosts refuse more */
    uint8_t *data = malloc((size_t)size);
    if (data == NULL) __builtin_trap();
    for (size_t done = 0; done < size; done += MOST_AT_ONCE) {
        size_t rest = (size_t)size - done;
        /* Going on without randomness would be worse than stopping. */
        if (random_get(data + done, rest < MOST_AT_ONCE ? rest : MOST_AT_ONCE) != 0) __builtin_trap();
    }
    *out = (List){data, (size_t)size};
}

/* Environment: Python's os.environ is refreshed from the host by the SDK; C code sees none. */

REPLACES("wasi:cli/environment", "get-environment") void get_environment(List *out) { *out = (List){NULL, 0}; }

REPLACES("wasi:cli/environment", "get-arguments") void get_arguments(List *out) { *out = (List){NULL, 0}; }

REPLACES("wasi:cli/exit", "exit") void cli_exit(uint32_t status) {
    static const char message[] = "the interpreter ended itself";
    proxy_log(LOG_CRITICAL, message, sizeof message - 1);
    __builtin_trap();
}

/* Standard streams: what C code prints goes to the proxy's log, a line at a time. */

REPLACES("wasi:cli/stdin", "get-stdin") uint32_t get_stdin(void) { return STDIN; }
REPLACES("wasi:cli/stdout", "get-stdout") uint32_t get_stdout(void) { return STDOUT; }
REPLACES("wasi:cli/stderr", "get-stderr") uint32_t get_stderr(void) { return STDERR; }

REPLACES("wasi:cli/terminal-stdin", "get-terminal-stdin") void get_terminal_stdin(uint8_t *out) { *out = 0; }
REPLACES("wasi:cli/terminal-stdout", "get-terminal-stdout") void get_terminal_stdout(uint8_t *out) { *out = 0; }
REPLACES("wasi:cli/terminal-stderr", "get-terminal-stderr") void get_terminal_stderr(uint8_t *out) { *out = 0; }

typedef struct {
    uint8_t is_error;
    uint32_t error;
} StreamResult;

typedef struct {
    uint8_t is_error;
    uint64_t value;
} StreamSizeResult;

enum { STREAM_CLOSED = 1 };

static char line[1024];
static size_t line_size;

static void end_line(uint32_t stream) {
    proxy_log(stream == STDERR ? LOG_ERROR : LOG_INFO, line, line_size);
    line_size = 0;
}

static void write_text(uint32_t stream, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n' || line_size == sizeof line) end_line(stream);
        if (text[i] != '\n') line[line_size++] = text[i];
    }
}

REPLACES("wasi:io/streams", "[method]output-stream.check-write") void check_write(uint32_t stream, StreamSizeResult *out) {
    *out = (StreamSizeResult){0, 4096};
}

REPLACES("wasi:io/streams", "[method]output-stream.write")
void stream_write(uint32_t stream, const char *text, size_t size, StreamResult *out) {
    write_text(stream, text, size);
    out->is_error = 0;
}

REPLACES("wasi:io/streams", "[method]output-stream.blocking-write-and-flush")
void stream_write_and_flush(uint32_t stream, const char *text, size_t size, StreamResult *out) {
    write_text(stream, text, size);
    out->is_error = 0;
}

REPLACES("wasi:io/streams", "[method]output-stream.blocking-flush") void stream_flush(uint32_t stream, StreamResult *out) {
    out->is_error = 0;
}

REPLACES("wasi:io/streams", "[method]output-stream.subscribe") uint32_t output_subscribe(uint32_t stream) {
    return NO_HANDLE;
}

REPLACES("wasi:io/streams", "[method]input-stream.read")
void stream_read(uint32_t stream, uint64_t size, StreamResult *out) {
    out->is_error = 1;
    *(uint8_t *)&out->error = STREAM_CLOSED;
}

REPLACES("wasi:io/streams", "[method]input-stream.subscribe") uint32_t input_subscribe(uint32_t stream) {
    return NO_HANDLE;
}

REPLACES("wasi:io/streams", "[resource-drop]output-stream") void output_stream_drop(uint32_t stream) {}
REPLACES("wasi:io/streams", "[resource-drop]input-stream") void input_stream_drop(uint32_t stream) {}
REPLACES("wasi:io/error", "[resource-drop]error") void error_drop(uint32_t error) {}

/* Files and sockets: there are none. */

typedef struct {
    uint8_t is_error;
    uint32_t value;
} HandleResult;

enum { NETWORK_ACCESS_DENIED = 1 };

static void access_denied(HandleResult *out) {
    out->is_error = 1;
    *(uint8_t *)&out->value = NETWORK_ACCESS_DENIED;
}

REPLACES("wasi:filesystem/preopens", "get-directories") void get_directories(List *out) { *out = (List){NULL, 0}; }

REPLACES("wasi:sockets/instance-network", "instance-network") uint32_t instance_network(void) { return NO_HANDLE; }

REPLACES("wasi:sockets/udp-create-socket", "create-udp-socket") void create_udp_socket(uint32_t family, HandleResult *out) {
    access_denied(out);
}

REPLACES("wasi:sockets/tcp-create-socket", "create-tcp-socket") void create_tcp_socket(uint32_t family, HandleResult *out) {
    access_denied(out);
}

REPLACES("wasi:sockets/ip-name-lookup", "resolve-addresses")
void resolve_addresses(uint32_t network, const char *name, size_t size, HandleResult *out) {
    access_denied(out);
}
