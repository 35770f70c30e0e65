/* Lets a request through only if its body is a JSON object with some keys; answers 403 to all others.
 *
 * A check in one pass that builds nothing. Keys with escapes are not taken for the required ones, and strings may hold
 * bytes that are not UTF-8.
 */
#include "../proxy_wasm.h"

#define DEPTH 200

static const char *const REQUIRED[] = {"id", "token", "user"};
enum { ALL_REQUIRED = 7 };

static const char *at, *end;
static uint32_t found;

static int value(int depth);

static void skip(void) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
}

static int take(char wanted) {
    if (at == end || *at != wanted)
        return 0;
    at++;
    return 1;
}

static int word(const char *text) {
    while (*text)
        if (!take(*text++))
            return 0;
    return 1;
}

static int is_digit(void) { return at < end && *at >= '0' && *at <= '9'; }

static int digits(void) {
    if (!is_digit())
        return 0;
    while (is_digit())
        at++;
    return 1;
}

static int number(void) {
    take('-');
    if (!take('0') && !digits())
        return 0;
    if (take('.') && !digits())
        return 0;
    if (take('e') || take('E')) {
        if (!take('+'))
            take('-');
        return digits();
    }
    return 1;
}

static int escape(void) {
    if (at == end)
        return 0;
    char kind = *at++;
    if (kind != 'u')
        return kind == '"' || kind == '\\' || kind == '/' || kind == 'b' || kind == 'f' || kind == 'n' || kind == 'r' ||
               kind == 't';
    for (int count = 0; count < 4; count++, at++)
        if (!is_digit() && (at == end || (*at | 32) < 'a' || (*at | 32) > 'f'))
            return 0;
    return 1;
}

static int string(void) {
    if (!take('"'))
        return 0;
    while (at < end && *at != '"') {
        if ((unsigned char)*at < ' ')
            return 0;
        if (*at++ == '\\' && !escape())
            return 0;
    }
    return take('"');
}

static void note(const char *key, size_t size) {
    for (int number = 0; number < 3; number++) {
        size_t same = 0;
        while (same < size && REQUIRED[number][same] == key[same])
            same++;
        if (same == size && !REQUIRED[number][same])
            found |= 1u << number;
    }
}

static int members(int depth, int is_object) {
    char close = is_object ? '}' : ']';
    skip();
    if (take(close))
        return 1;
    do {
        if (is_object) {
            skip();
            const char *key = at + 1;
            if (!string())
                return 0;
            if (depth == 0)
                note(key, (size_t)(at - 1 - key));
            skip();
            if (!take(':'))
                return 0;
        }
        if (!value(depth + 1))
            return 0;
    } while (take(','));
    return take(close);
}

static int value(int depth) {
    skip();
    if (at == end || depth == DEPTH)
        return 0;
    int valid;
    switch (*at) {
    case '{': at++; valid = members(depth, 1); break;
    case '[': at++; valid = members(depth, 0); break;
    case '"': valid = string(); break;
    case 't': valid = word("true"); break;
    case 'f': valid = word("false"); break;
    case 'n': valid = word("null"); break;
    default: valid = number();
    }
    skip();
    return valid;
}

EXPORT(proxy_on_request_body) uint32_t on_request_body(uint32_t context, uint32_t size, uint32_t end_of_stream) {
    static const char answer[] = "invalid body\n";
    if (!end_of_stream)
        return PAUSE;
    char *body = NULL;
    size_t length = 0;
    get_buffer(REQUEST_BODY, 0, size, &body, &length);
    at = body, end = body + length, found = 0;
    if (value(0) && at == end && found == ALL_REQUIRED)
        return CONTINUE;
    send_response(403, NULL, 0, answer, LENGTH(answer), NULL, 0, -1);
    return PAUSE;
}
