/* Reads twenty headers and matches the path with /api/v[0-9]+/users/[0-9a-f-]+/orders/[0-9]+, by hand. */
#include "../proxy_wasm.h"

static const char *at, *end;

static int word(const char *text) {
    for (; *text; text++, at++)
        if (at == end || *at != *text)
            return 0;
    return 1;
}

static int run(int more) {
    const char *start = at;
    while (at < end && ((*at >= '0' && *at <= '9') || (more && ((*at >= 'a' && *at <= 'f') || *at == '-'))))
        at++;
    return at > start;
}

/* Where the order's number begins; NULL if the path is another one. */
static const char *order_of(const char *path, size_t size) {
    at = path, end = path + size;
    if (!word("/api/v") || !run(0) || !word("/users/") || !run(1) || !word("/orders/"))
        return NULL;
    const char *order = at;
    return run(0) && at == end ? order : NULL;
}

static char *decimal(char *behind, uint32_t number) {
    do
        *--behind = (char)('0' + number % 10);
    while (number /= 10);
    return behind;
}

EXPORT(proxy_on_request_headers) uint32_t on_request_headers(uint32_t context, uint32_t count, uint32_t end_of_stream) {
    static char name[] = "x-tag-00";
    char result[64], *value = NULL;
    size_t size = 0, length = 0, name_size;
    for (uint32_t number = 1; number <= 20; number++) {
        name_size = number < 10 ? 7 : 8;
        decimal(name + name_size, number);
        if (get_header(REQUEST_HEADERS, name, name_size, &value, &size) == 0)
            length += size;
    }
    if (get_header(REQUEST_HEADERS, ":path", 5, &value, &size) != 0)
        return CONTINUE;
    const char *order = order_of(value, size);
    if (!order || end - order > 40)
        return CONTINUE;
    char *begin = decimal(result + sizeof result, (uint32_t)length);
    *--begin = '/';
    while (end > order)
        *--begin = *--end;
    add_header(REQUEST_HEADERS, "x-bench-match", 13, begin, (size_t)(result + sizeof result - begin));
    return CONTINUE;
}
