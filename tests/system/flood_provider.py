#!/usr/bin/env python3
"""A provider that floods: streams without end, as fast as they are taken; whole answers at once.

Prints its port, serves until it is ended. A line "open N" for each line it reads on standard input
says how many connections it has.
"""
import asyncio
import resource
import sys

EVENT = (b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"up","choices":'
         b'[{"index":0,"delta":{"content":"' + b"word " * 180 + b'"},"finish_reason":null}]}\n\n')
WHOLE = (b'{"id":"c","object":"chat.completion","created":1,"model":"up","choices":[{"index":0,'
         b'"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],'
         b'"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}')
STREAM_HEAD = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
               b"transfer-encoding: chunked\r\n\r\n")

connections = 0


async def serve(reader, writer):
    global connections
    connections += 1
    writer.transport.set_write_buffer_limits(high=16384)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                          if line.lower().startswith(b"content-length:"))
            body = await reader.readexactly(length)
            if b'"stream":true' in body.replace(b" ", b""):
                writer.write(STREAM_HEAD)
                while True:
                    writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
                    await writer.drain()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                         % len(WHOLE) + WHOLE)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        connections -= 1
        writer.close()


async def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while await asked.readline():
        print("open", connections, flush=True)

asyncio.run(main())
