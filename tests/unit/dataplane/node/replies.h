/* replies.h: what callers ask and what providers of the OpenAI dialect say, for tests on the rig.
 */
#ifndef STEELYARD_TESTS_UNIT_DATAPLANE_NODE_REPLIES_H
#define STEELYARD_TESTS_UNIT_DATAPLANE_NODE_REPLIES_H

#define ASK "{\"model\":\"auto\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ASK_STREAM                                                                                 \
    "{\"model\":\"auto\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define SSE_HEAD                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

#define WHOLE                                                                                      \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"up-small\","           \
    "\"choices\":[{\"index\":0,"                                                                   \
    "\"message\":{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":\"stop\"}],"     \
    "\"usage\":{"                                                                                  \
    "\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15}}"
#define EVENT(delta, finish)                                                                       \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"small\","        \
    "\"choices\":[{"                                                                               \
    "\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define EV_ROLE EVENT("{\"role\":\"assistant\",\"content\":\"\"}", "null")
#define EV_TEXT EVENT("{\"content\":\"hello\"}", "null")
#define EV_STOP EVENT("{}", "\"stop\"")
#define EV_USAGE                                                                                   \
    "data: "                                                                                       \
    "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"small\","        \
    "\"choices\":[],"                                                                              \
    "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\n"
#define EV_DONE "data: [DONE]\n\n"

/* A reply whose body is `text` in one chunk, then `tail`. The last eight stay valid. */
const char *replies_make(const char *head, const char *text, const char *tail);
const char *replies_whole(void); /* WHOLE under JSON_HEAD. */
const char *replies_stream(const char *events);
void replies_free(void); /* At the end of a program. */

#endif
