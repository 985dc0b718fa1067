/* json_problem.c: what went wrong with a text, as a code, a place and words. */
#include <assert.h>

#include "common/json/json_internal.h"

int json_problem_code(enum json_problem problem)
{
    switch (problem) {
    case JSON_PROBLEM_NONE:
        return 0;
    case JSON_PROBLEM_EARLY_END:
        return ERR_EOF;
    case JSON_PROBLEM_REPEATED_KEY:
        return ERR_EXISTS;
    case JSON_PROBLEM_DEPTH:
    case JSON_PROBLEM_NODES:
        return ERR_LIMIT;
    case JSON_PROBLEM_SIZE:
        return ERR_TOO_LARGE;
    case JSON_PROBLEM_MEMORY:
        return ERR_NOMEM;
    case JSON_PROBLEM_SYNTAX:
    case JSON_PROBLEM_TRAILING:
    case JSON_PROBLEM_BOM:
    case JSON_PROBLEM_UTF8:
    case JSON_PROBLEM_CONTROL:
    case JSON_PROBLEM_ESCAPE:
    case JSON_PROBLEM_SURROGATE:
    case JSON_PROBLEM_NUMBER:
        return ERR_SYNTAX;
    }
    assert(!"a problem without a code");
    return ERR_INTERNAL;
}

void json_report(struct json *j, struct json_error *out_error)
{
    const struct json_scan *k = &j->scan;
    *out_error = (struct json_error){.problem = (enum json_problem)k->problem, .offset = k->at};
    if (k->problem != JSON_PROBLEM_REPEATED_KEY)
        return;
    /* Close what is open, so that the way down to the key can be walked. */
    uint32_t open = k->open;
    for (uint32_t i = 0; i < k->depth; i++) {
        uint32_t around = j->nodes[open].next;
        j->nodes[open].next = j->count;
        open = around;
    }
    out_error->offset = j->nodes[k->repeated_key].start;
    json_path(j, k->repeated_key, out_error->path);
}

const char *json_problem_text(enum json_problem problem)
{
    switch (problem) {
    case JSON_PROBLEM_NONE:
        return "no problem";
    case JSON_PROBLEM_SYNTAX:
        return "unexpected character";
    case JSON_PROBLEM_EARLY_END:
        return "unexpected end of the text";
    case JSON_PROBLEM_TRAILING:
        return "bytes after the end of the value";
    case JSON_PROBLEM_BOM:
        return "byte order mark";
    case JSON_PROBLEM_UTF8:
        return "invalid UTF-8";
    case JSON_PROBLEM_CONTROL:
        return "control character in a string";
    case JSON_PROBLEM_ESCAPE:
        return "invalid escape";
    case JSON_PROBLEM_SURROGATE:
        return "lone surrogate";
    case JSON_PROBLEM_NUMBER:
        return "invalid number";
    case JSON_PROBLEM_REPEATED_KEY:
        return "repeated key";
    case JSON_PROBLEM_DEPTH:
        return "nested too deeply";
    case JSON_PROBLEM_NODES:
        return "too many values";
    case JSON_PROBLEM_SIZE:
        return "too large";
    case JSON_PROBLEM_MEMORY:
        return "out of memory";
    }
    return "unknown problem";
}
