/* Asks a service before a request goes on, and adds a header with what it answers. */
#include "../proxy_wasm.h"

#define CALLS 4096 /* more than can be on their way at a time */

/* A header map as the ABI has it: how many, the sizes, and the texts, each with a zero behind it. */
static const char HEADERS[] = "\3\0\0\0"
                              "\7\0\0\0\3\0\0\0"
                              "\5\0\0\0\6\0\0\0"
                              "\12\0\0\0\7\0\0\0"
                              ":method\0GET\0:path\0/check\0:authority\0service";
static const char NO_TRAILERS[4];
static uint32_t callers[CALLS];

EXPORT(proxy_on_request_headers) uint32_t on_request_headers(uint32_t context, uint32_t count, uint32_t end_of_stream) {
    uint32_t token = 0;
    if (http_call("service", 7, HEADERS, sizeof HEADERS, NULL, 0, NO_TRAILERS, sizeof NO_TRAILERS, 5000, &token) != 0)
        return CONTINUE;
    callers[token % CALLS] = context;
    return PAUSE;
}

EXPORT(proxy_on_http_call_response)
void on_http_call_response(uint32_t context, uint32_t token, uint32_t headers, uint32_t body_size, uint32_t trailers) {
    char *status = NULL;
    size_t size = 0;
    get_header(CALL_RESPONSE_HEADERS, ":status", 7, &status, &size);
    set_effective_context(callers[token % CALLS]);
    add_header(REQUEST_HEADERS, "x-bench-status", 14, status, size);
    continue_stream(REQUEST);
}
