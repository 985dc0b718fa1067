/* What providers of each dialect say. */
#include "tests/unit/dataplane/matrix/voices.h"

/* ---- the openai dialect ---- */

#define O_HEAD "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
#define O_DELTA(delta, finish)                                                                     \
    {                                                                                              \
        NULL,                                                                                      \
            O_HEAD "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}" \
    }
#define O_CALL(index, rest) O_DELTA("{\"tool_calls\":[{\"index\":" index "," rest "}]}", "null")
#define O_USAGE                                                                                    \
    {                                                                                              \
        NULL, O_HEAD "\"choices\":[]@U}"                                                           \
    }
#define O_DONE                                                                                     \
    {                                                                                              \
        NULL, "[DONE]"                                                                             \
    }
#define O_ERROR(type, code)                                                                        \
    "{\"error\":{\"message\":\"it said no\",\"type\":\"" type "\",\"param\":null,\"code\":" code   \
    "}}"

/* ---- the responses dialect ---- */

#define R_HEAD                                                                                     \
    "\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"model\":\"m\",\"status\":"
#define R(n, type, rest)                                                                           \
    {                                                                                              \
        type, "{\"type\":\"" type "\",\"sequence_number\":" n "," rest "}"                         \
    }
#define R_START R("0", "response.created", "\"response\":{" R_HEAD "\"in_progress\",\"output\":[]}")
#define R_ITEM(n, kind, at, item)                                                                  \
    R(n, "response.output_item." kind, "\"output_index\":" at ",\"item\":{" item "}")
#define R_PART(n, kind, at, text)                                                                  \
    R(n, "response.content_part." kind,                                                            \
      "\"item_id\":\"msg_1\",\"output_index\":" at                                                 \
      ",\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"" text                   \
      "\",\"annotations\":[]}")
#define R_TEXT(n, at, text)                                                                        \
    R(n, "response.output_text.delta",                                                             \
      "\"item_id\":\"msg_1\",\"output_index\":" at ",\"content_index\":0,\"delta\":\"" text "\"")
#define R_TEXT_DONE(n, at, text)                                                                   \
    R(n, "response.output_text.done",                                                              \
      "\"item_id\":\"msg_1\",\"output_index\":" at ",\"content_index\":0,\"text\":\"" text "\"")
#define R_MESSAGE(text)                                                                            \
    "\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\","       \
    "\"content\":[{\"type\":\"output_text\",\"text\":\"" text "\",\"annotations\":[]}]"
#define R_MESSAGE_OPEN                                                                             \
    "\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"in_progress\","     \
    "\"content\":[]"
#define R_CALL(number, name, args)                                                                 \
    "\"type\":\"function_call\",\"id\":\"fc_" number "\",\"call_id\":\"call_" number               \
    "\",\"name\":\"" name "\",\"arguments\":\"" args "\",\"status\":\"completed\""
#define R_ARGS(n, at, number, args)                                                                \
    R(n, "response.function_call_arguments.delta",                                                 \
      "\"item_id\":\"fc_" number "\",\"output_index\":" at ",\"delta\":\"" args "\"")
#define R_ARGS_DONE(n, at, number, args)                                                           \
    R(n, "response.function_call_arguments.done",                                                  \
      "\"item_id\":\"fc_" number "\",\"output_index\":" at ",\"arguments\":\"" args "\"")
#define R_RICH                                                                                     \
    "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text\":"    \
    "\"let me see\"}]},"                                                                           \
    "{" R_MESSAGE("h\\u00e9llo \\ud83d\\ude00") "},"                                               \
                                                "{" R_CALL("1", "f",                               \
                                                           "{\\\"a\\\":\\\"1\\\"}") "},"           \
                                                                                    "{" R_CALL(    \
                                                                                        "2", "g",  \
                                                                                        "{}") "}"
#define R_END(n, output)                                                                           \
    R(n, "response.completed", "\"response\":{" R_HEAD "\"completed\",\"output\":[" output "]@U}")

/* ---- the anthropic dialect ---- */

#define A(type, rest)                                                                              \
    {                                                                                              \
        type, "{\"type\":\"" type "\"" rest "}"                                                    \
    }
#define A_START                                                                                    \
    A("message_start", ",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"             \
                       "\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null@S}")
#define A_OPEN(at, block)                                                                          \
    A("content_block_start", ",\"index\":" at ",\"content_block\":{" block "}")
#define A_DELTA(at, delta) A("content_block_delta", ",\"index\":" at ",\"delta\":{" delta "}")
#define A_CLOSE(at)        A("content_block_stop", ",\"index\":" at)
#define A_FINISH(why)                                                                              \
    A("message_delta", ",\"delta\":{\"stop_reason\":\"" why "\",\"stop_sequence\":null}@U")
#define A_ERROR(type)                                                                              \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"it said no\"}}"

/* ---- gemini ---- */

#define G(part, rest)                                                                              \
    {                                                                                              \
        NULL, "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[" part                 \
              "]},\"index\":0" rest "}],\"modelVersion\":\"m\",\"responseId\":\"g1\"@U}"           \
    }
#define G_ERROR(code, status)                                                                      \
    "{\"error\":{\"code\":" code ",\"message\":\"it said no\",\"status\":\"" status "\"}}"

/* ---- cohere ---- */

#define C(type, rest)                                                                              \
    {                                                                                              \
        type, "{\"type\":\"" type "\"" rest "}"                                                    \
    }

/* ---- bedrock: the frames are of AWS ---- */

#define B(type, rest)                                                                              \
    {                                                                                              \
        type, "{" rest "}"                                                                         \
    }

const struct voice voices[DIALECTS] =
    {
        [DIALECT_OPENAI] =
            {
                .dialect = DIALECT_OPENAI,
                .name = "openai",
                .host = "custom",
                .model = "m",
                .type = "text/event-stream",
                .usage = ",\"usage\":{\"prompt_tokens\":@I,\"completion_tokens\":@O}",
                .whole = "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,"
                         "\"model\":\"m\","
                         "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                         "\"content\":"
                         "\"hello\"},\"finish_reason\":\"stop\"}]@U}",
                .hello = {.frames = {O_DELTA("{\"role\":\"assistant\",\"content\":\"\"}", "null"),
                                     O_DELTA("{\"content\":\"hel\"}", "null"),
                                     O_DELTA("{\"content\":\"lo\"}", "null"),
                                     O_DELTA("{}", "\"stop\""), O_USAGE, O_DONE},
                          .content = 1,
                          .finish = 3,
                          .count = 6},
                .rich = {.frames = {O_DELTA("{\"role\":\"assistant\",\"content\":\"\"}", "null"),
                                    O_DELTA("{\"reasoning_content\":\"let me \"}", "null"),
                                    O_DELTA("{\"reasoning_content\":\"see\"}", "null"),
                                    O_DELTA("{\"content\":\"h\\u00e9l\"}", "null"),
                                    O_DELTA("{\"content\":\"lo \\ud83d\\ude00\"}", "null"),
                                    O_CALL("0", "\"id\":\"call_1\",\"type\":\"function\","
                                                "\"function\":{"
                                                "\"name\":\"f\",\"arguments\":\"\"}"),
                                    O_CALL("0", "\"function\":{\"arguments\":\"{\\\"a\\\":\"}"),
                                    O_CALL("0", "\"function\":{\"arguments\":\"\\\"1\\\"}\"}"),
                                    O_CALL("1", "\"id\":\"call_2\",\"type\":\"function\","
                                                "\"function\":{"
                                                "\"name\":\"g\",\"arguments\":\"{}\"}"),
                                    O_DELTA("{}", "\"tool_calls\""), O_USAGE, O_DONE},
                         .content = 1,
                         .finish = 9,
                         .count = 12},
                .error = {NULL, O_ERROR("server_error", "null")},
                .limit = {NULL, O_ERROR("requests", "\"rate_limit_exceeded\"")},
                .refusal = O_ERROR("invalid_request_error", "null"),
                .denial = O_ERROR("invalid_request_error", "\"invalid_api_key\""),
                .limited = O_ERROR("requests", "\"rate_limit_exceeded\""),
                .failure = O_ERROR("server_error", "null"),
            },
        [DIALECT_RESPONSES] =
            {
                .dialect = DIALECT_RESPONSES,
                .name = "responses",
                .host = "openai",
                .model = "gpt-5-codex",
                .type = "text/event-stream",
                .usage = ",\"usage\":{\"input_tokens\":@I,\"output_tokens\":@O,\"total_"
                         "tokens\":15}",
                .whole = "{" R_HEAD "\"completed\",\"output\":[{" R_MESSAGE("hello") "}]@U}",
                .hello = {.frames = {R_START, R_ITEM("1", "added", "0", R_MESSAGE_OPEN),
                                     R_PART("2", "added", "0", ""), R_TEXT("3", "0", "hel"),
                                     R_TEXT("4", "0", "lo"), R_TEXT_DONE("5", "0", "hello"),
                                     R_PART("6", "done", "0", "hello"),
                                     R_ITEM("7", "done", "0", R_MESSAGE("hello")),
                                     R_END("8", "{" R_MESSAGE("hello") "}")},
                          .content = 3,
                          .finish = 8,
                          .count = 9},
                .rich = {.frames = {R_START,
                                    R_ITEM("1", "added", "0",
                                           "\"type\":\"reasoning\",\"id\":\"rs_1\","
                                           "\"summary\":[]"),
                                    R("2", "response.reasoning_summary_part.added",
                                      "\"item_id\":\"rs_1\",\"output_index\":0,\"summary_"
                                      "index\":0,"
                                      "\"part\":{\"type\":\"summary_text\",\"text\":\"\"}"),
                                    R("3", "response.reasoning_summary_text.delta",
                                      "\"item_id\":\"rs_1\",\"output_index\":0,\"summary_"
                                      "index\":0,"
                                      "\"delta\":\"let me see\""),
                                    R("4", "response.reasoning_summary_text.done",
                                      "\"item_id\":\"rs_1\",\"output_index\":0,\"summary_"
                                      "index\":0,"
                                      "\"text\":\"let me see\""),
                                    R("5", "response.reasoning_summary_part.done",
                                      "\"item_id\":\"rs_1\",\"output_index\":0,\"summary_"
                                      "index\":0,"
                                      "\"part\":{\"type\":\"summary_text\",\"text\":\"let "
                                      "me see\"}"),
                                    R_ITEM("6", "done", "0",
                                           "\"type\":\"reasoning\",\"id\":\"rs_1\","
                                           "\"summary\":[{\"type\":"
                                           "\"summary_text\",\"text\":\"let me see\"}]"),
                                    R_ITEM("7", "added", "1", R_MESSAGE_OPEN),
                                    R_PART("8", "added", "1", ""),
                                    R_TEXT("9", "1", "h\\u00e9l"),
                                    R_TEXT("10", "1", "lo \\ud83d\\ude00"),
                                    R_TEXT_DONE("11", "1", "h\\u00e9llo \\ud83d\\ude00"),
                                    R_PART("12", "done", "1", "h\\u00e9llo \\ud83d\\ude00"),
                                    R_ITEM("13", "done", "1",
                                           R_MESSAGE("h\\u00e9llo \\ud83d\\ude00")),
                                    R_ITEM("14", "added", "2", R_CALL("1", "f", "")),
                                    R_ARGS("15", "2", "1", "{\\\"a\\\":"),
                                    R_ARGS("16", "2", "1", "\\\"1\\\"}"),
                                    R_ARGS_DONE("17", "2", "1", "{\\\"a\\\":\\\"1\\\"}"),
                                    R_ITEM("18",
                                           "done", "2", R_CALL("1", "f", "{\\\"a\\\":\\\"1\\\"}")),
                                    R_ITEM("19", "added", "3", R_CALL("2", "g", "")),
                                    R_ARGS("20", "3", "2", "{}"),
                                    R_ARGS_DONE("21", "3", "2", "{}"),
                                    R_ITEM("22", "done", "3", R_CALL("2", "g", "{}")),
                                    R_END("23", R_RICH)},
                         .content = 3,
                         .finish = 23,
                         .count = 24},
                .error =
                    R("9", "error",
                      "\"code\":\"server_error\",\"message\":\"it said no\",\"param\":null"),
                .limit = R("9", "response.failed",
                           "\"response\":{" R_HEAD "\"failed\",\"error\":{\"code\":\"rate_limit_"
                           "exceeded\",\"message\":\"it "
                           "said no\"},\"output\":[]}"),
                .refusal = O_ERROR("invalid_request_error", "null"),
                .denial = O_ERROR("invalid_request_error", "\"invalid_api_key\""),
                .limited = O_ERROR("requests", "\"rate_limit_exceeded\""),
                .failure = O_ERROR("server_error", "null"),
            },
        [DIALECT_ANTHROPIC] =
            {
                .dialect = DIALECT_ANTHROPIC,
                .name = "anthropic",
                .host = "anthropic",
                .model = "m",
                .type = "text/event-stream",
                .usage = ",\"usage\":{\"input_tokens\":@I,\"output_tokens\":@O}",
                .first = ",\"usage\":{\"input_tokens\":@I,\"output_tokens\":1}",
                .whole = "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
                         "\"model\":"
                         "\"m\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}],"
                         "\"stop_reason\":"
                         "\"end_turn\",\"stop_sequence\":null@U}",
                .hello = {.frames = {A_START, A("ping", ""),
                                     A_OPEN("0", "\"type\":\"text\",\"text\":\"\""),
                                     A_DELTA("0", "\"type\":\"text_delta\",\"text\":\"hel\""),
                                     A_DELTA("0", "\"type\":\"text_delta\",\"text\":\"lo\""),
                                     A_CLOSE("0"), A_FINISH("end_turn"), A("message_stop", "")},
                          .content = 3,
                          .finish = 6,
                          .count = 8},
                .rich = {.frames = {A_START,
                                    A("ping", ""),
                                    A_OPEN("0", "\"type\":\"thinking\",\"thinking\":\"\","
                                                "\"signature\":"
                                                "\"\""),
                                    A_DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":"
                                                 "\"let \""),
                                    A_DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":"
                                                 "\"me see\""),
                                    A_DELTA("0", "\"type\":\"signature_delta\","
                                                 "\"signature\":"
                                                 "\"c2lnbmF0dXJl\""),
                                    A_CLOSE("0"),
                                    A_OPEN("1", "\"type\":\"text\",\"text\":\"\""),
                                    A_DELTA("1", "\"type\":\"text_delta\",\"text\":"
                                                 "\"h\\u00e9l\""),
                                    A_DELTA("1", "\"type\":\"text_delta\",\"text\":\"lo "
                                                 "\\ud83d\\ude00\""),
                                    A_CLOSE("1"),
                                    A_OPEN("2", "\"type\":\"tool_use\",\"id\":\"toolu_1\","
                                                "\"name\":"
                                                "\"f\",\"input\":{}"),
                                    A_DELTA("2", "\"type\":\"input_json_delta\",\"partial_"
                                                 "json\":\"\""),
                                    A_DELTA("2", "\"type\":\"input_json_delta\",\"partial_"
                                                 "json\":"
                                                 "\"{\\\"a\\\":\""),
                                    A_DELTA("2", "\"type\":\"input_json_delta\",\"partial_"
                                                 "json\":"
                                                 "\"\\\"1\\\"}\""),
                                    A_CLOSE("2"),
                                    A_OPEN("3", "\"type\":\"tool_use\",\"id\":\"toolu_2\","
                                                "\"name\":"
                                                "\"g\",\"input\":{}"),
                                    A_DELTA("3", "\"type\":\"input_json_delta\",\"partial_"
                                                 "json\":"
                                                 "\"{}\""),
                                    A_CLOSE("3"),
                                    A_FINISH("tool_use"),
                                    A("message_stop", "")},
                         .content = 3,
                         .finish = 19,
                         .count = 21},
                .error = {"error", A_ERROR("api_error")},
                .limit = {"error", A_ERROR("rate_limit_error")},
                .refusal = A_ERROR("invalid_request_error"),
                .denial = A_ERROR("authentication_error"),
                .limited = A_ERROR("rate_limit_error"),
                .failure = A_ERROR("api_error"),
            },
        [DIALECT_GEMINI] =
            {
                .dialect = DIALECT_GEMINI,
                .name = "gemini",
                .host = "gemini",
                .model = "gemini-2.5-flash",
                .type = "text/event-stream",
                .usage = ",\"usageMetadata\":{\"promptTokenCount\":@I,"
                         "\"candidatesTokenCount\":@O}",
                .whole = "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{"
                         "\"text\":"
                         "\"hello\"}]},\"finishReason\":\"STOP\",\"index\":0}],"
                         "\"modelVersion\":\"m\","
                         "\"responseId\":\"g1\"@U}",
                .hello = {.frames = {G("{\"text\":\"hel\"}", ""),
                                     G("{\"text\":\"lo\"}", ",\"finishReason\":\"STOP\"")},
                          .content = 0,
                          .finish = 1,
                          .count = 2},
                .rich = {.frames = {G("{\"text\":\"let me see\",\"thought\":true}", ""),
                                    G("{\"text\":\"h\\u00e9l\"}", ""),
                                    G("{\"text\":\"lo \\ud83d\\ude00\"}", ""),
                                    G("{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":"
                                      "\"1\"}},"
                                      "\"thoughtSignature\":\"c2ln\"}",
                                      ""),
                                    G("{\"functionCall\":{\"name\":\"g\",\"args\":{}}}",
                                      ",\"finishReason\":\"STOP\"")},
                         .content = 0,
                         .finish = 4,
                         .count = 5},
                .error = {NULL, G_ERROR("500", "INTERNAL")},
                .limit = {NULL, G_ERROR("429", "RESOURCE_EXHAUSTED")},
                .refusal = G_ERROR("400", "INVALID_ARGUMENT"),
                .denial = G_ERROR("401", "UNAUTHENTICATED"),
                .limited = G_ERROR("429", "RESOURCE_EXHAUSTED"),
                .failure = G_ERROR("500", "INTERNAL"),
            },
        [DIALECT_BEDROCK] =
            {
                .dialect = DIALECT_BEDROCK,
                .name = "bedrock",
                .host = "bedrock",
                .model = "anthropic.claude-3-haiku-20240307-v1:0",
                .type = "application/vnd.amazon.eventstream",
                .usage = ",\"usage\":{\"inputTokens\":@I,\"outputTokens\":@O,"
                         "\"totalTokens\":15}",
                .whole = "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":[{"
                         "\"text\":"
                         "\"hello\"}]}},\"stopReason\":\"end_turn\"@U}",
                .hello = {.frames = {B("messageStart", "\"role\":\"assistant\""),
                                     B("contentBlockDelta",
                                       "\"contentBlockIndex\":0,\"delta\":{\"text\":\"hel\"}"),
                                     B("contentBlockDelta",
                                       "\"contentBlockIndex\":0,\"delta\":{\"text\":\"lo\"}"),
                                     B("contentBlockStop", "\"contentBlockIndex\":0"),
                                     B("messageStop", "\"stopReason\":\"end_turn\""),
                                     B("metadata", "\"metrics\":{\"latencyMs\":1}@U")},
                          .content = 1,
                          .finish = 4,
                          .count = 6},
                .rich = {.frames = {B("messageStart", "\"role\":\"assistant\""),
                                    B("contentBlockDelta", "\"contentBlockIndex\":0,\"delta\":{"
                                                           "\"reasoningContent\":{"
                                                           "\"text\":\"let me see\"}}"),
                                    B("contentBlockDelta", "\"contentBlockIndex\":0,\"delta\":{"
                                                           "\"reasoningContent\":{"
                                                           "\"signature\":\"c2ln\"}}"),
                                    B("contentBlockStop", "\"contentBlockIndex\":0"),
                                    B("contentBlockDelta",
                                      "\"contentBlockIndex\":1,\"delta\":{\"text\":"
                                      "\"h\\u00e9l\"}"),
                                    B("contentBlockDelta",
                                      "\"contentBlockIndex\":1,\"delta\":{\"text\":\"lo "
                                      "\\ud83d\\ude00\"}"),
                                    B("contentBlockStop", "\"contentBlockIndex\":1"),
                                    B("contentBlockStart",
                                      "\"contentBlockIndex\":2,\"start\":{\"toolUse\":{"
                                      "\"toolUseId\":"
                                      "\"t1\",\"name\":\"f\"}}"),
                                    B("contentBlockDelta",
                                      "\"contentBlockIndex\":2,\"delta\":{\"toolUse\":{"
                                      "\"input\":"
                                      "\"{\\\"a\\\":\\\"1\\\"}\"}}"),
                                    B("contentBlockStop", "\"contentBlockIndex\":2"),
                                    B("contentBlockStart",
                                      "\"contentBlockIndex\":3,\"start\":{\"toolUse\":{"
                                      "\"toolUseId\":"
                                      "\"t2\",\"name\":\"g\"}}"),
                                    B("contentBlockDelta",
                                      "\"contentBlockIndex\":3,\"delta\":{\"toolUse\":{"
                                      "\"input\":"
                                      "\"{}\"}}"),
                                    B("contentBlockStop", "\"contentBlockIndex\":3"),
                                    B("messageStop", "\"stopReason\":\"tool_use\""),
                                    B("metadata", "\"metrics\":{\"latencyMs\":1}@U")},
                         .content = 1,
                         .finish = 13,
                         .count = 15},
                .error = {"!internalServerException", "{\"message\":\"it said no\"}"},
                .limit = {"!throttlingException", "{\"message\":\"it said no\"}"},
                .refusal = "{\"message\":\"it said no\"}",
                .denial = "{\"message\":\"it said no\"}",
                .limited = "{\"message\":\"it said no\"}",
                .failure = "{\"message\":\"it said no\"}",
            },
        [DIALECT_COHERE] =
            {
                .dialect = DIALECT_COHERE,
                .name = "cohere",
                .host = "cohere",
                .model = "command-a-03-2025",
                .type = "text/event-stream",
                .usage = ",\"usage\":{\"tokens\":{\"input_tokens\":@I,\"output_tokens\":@O}}",
                .whole = "{\"id\":\"c1\",\"finish_reason\":\"COMPLETE\",\"message\":{\"role\":"
                         "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]}@"
                         "U}",
                .hello =
                    {.frames = {C("message-start",
                                  ",\"id\":\"c1\",\"delta\":{\"message\":{\"role\":"
                                  "\"assistant\",\"content\":[]}}"),
                                C(
                                    "content-start", ",\"index\":0,\"delta\":{\"message\":{"
                                                     "\"content\":{\"type\":\"text\",\"text\":\"\"}"
                                                     "}}"),
                                C(
                                    "content-delta", ",\"index\":0,\"delta\":{\"message\":{"
                                                     "\"content\":{\"text\":\"hel\"}}}"),
                                C(
                                    "content-delta", ",\"index\":0,\"delta\":{\"message\":{"
                                                     "\"content\":{\"text\":\"lo\"}}}"),
                                C("content-end", ",\"index\":0"),
                                C("message-end", ",\"delta\":{\"finish_reason\":\"COMPLETE\"@U}")},
                     .content = 2,
                     .finish = 5,
                     .count = 6},
                .rich = {.frames = {C("message-start",
                                      ",\"id\":\"c1\",\"delta\":{\"message\":{\"role\":"
                                      "\"assistant\",\"content\":[]}}"),
                                    C("content-start",
                                      ",\"index\":0,\"delta\":{\"message\":{"
                                      "\"content\":{\"type\":\"thinking\",\"thinking\":"
                                      "\"\"}}}"),
                                    C("content-delta",
                                      ",\"index\":0,\"delta\":{\"message\":{"
                                      "\"content\":{\"thinking\":\"let me see\"}}}"),
                                    C("content-end", ",\"index\":0"),
                                    C("content-start",
                                      ",\"index\":1,\"delta\":{\"message\":{"
                                      "\"content\":{\"type\":\"text\",\"text\":\"\"}"
                                      "}}"),
                                    C("content-delta", ",\"index\":1,\"delta\":{\"message\":{"
                                                       "\"content\":{\"text\":\"h\\u00e9l\"}}}"),
                                    C("content-delta",
                                      ",\"index\":1,\"delta\":{\"message\":{"
                                      "\"content\":{\"text\":\"lo \\ud83d\\ude00\"}}}"),
                                    C("content-end", ",\"index\":1"),
                                    C("tool-call-start",
                                      ",\"index\":0,\"delta\":{\"message\":{"
                                      "\"tool_calls\":{\"id\":\"f_1\",\"type\":"
                                      "\"function\",\"function\":{\"name\":\"f\","
                                      "\"arguments\":\"\"}}}}"),
                                    C("tool-call-delta",
                                      ",\"index\":0,\"delta\":{\"message\":{"
                                      "\"tool_calls\":{\"function\":{\"arguments\":"
                                      "\"{\\\"a\\\":\\\"1\\\"}\"}}}}"),
                                    C("tool-call-end", ",\"index\":0"),
                                    C("tool-call-start",
                                      ",\"index\":1,\"delta\":{\"message\":{"
                                      "\"tool_calls\":{\"id\":\"g_1\",\"type\":"
                                      "\"function\",\"function\":{\"name\":\"g\","
                                      "\"arguments\":\"\"}}}}"),
                                    C("tool-call-delta",
                                      ",\"index\":1,\"delta\":{\"message\":{"
                                      "\"tool_calls\":{\"function\":{\"arguments\":"
                                      "\"{}\"}}}}"),
                                    C("tool-call-end", ",\"index\":1"),
                                    C("message-end",
                                      ",\"delta\":{\"finish_reason\":\"TOOL_CALL\"@U}")},
                         .content = 2,
                         .finish = 14,
                         .count = 15},
                .refusal = "{\"message\":\"it said no\"}",
                .denial = "{\"message\":\"it said no\"}",
                .limited = "{\"message\":\"it said no\"}",
                .failure = "{\"message\":\"it said no\"}",
            },
};
