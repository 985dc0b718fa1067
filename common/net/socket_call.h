/* socket_call.h: send, sendmsg and recv as the kernel has them. The C library's are points at which
 * a thread can be cancelled: with more than one thread each call sets and clears that with two
 * locked instructions. No thread of ours is ever cancelled. Results, errno and flags as in send(2),
 * sendmsg(2), recv(2). Inline. */
#ifndef STEELYARD_COMMON_NET_SOCKET_CALL_H
#define STEELYARD_COMMON_NET_SOCKET_CALL_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* Sanitizers look at what goes through the library's functions. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SOCKET_CALL_LIBRARY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SOCKET_CALL_LIBRARY 1
#endif
#endif
#if !defined(SYS_sendto) || !defined(SYS_sendmsg) || !defined(SYS_recvfrom)
#undef SOCKET_CALL_LIBRARY
#define SOCKET_CALL_LIBRARY 1
#endif

#ifdef SOCKET_CALL_LIBRARY
static inline ssize_t socket_call_send(int fd, const void *data, size_t len, int flags)
{
    return send(fd, data, len, flags);
}
static inline ssize_t socket_call_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return sendmsg(fd, message, flags);
}
static inline ssize_t socket_call_recv(int fd, void *out, size_t len, int flags)
{
    return recv(fd, out, len, flags);
}
#else
static inline ssize_t socket_call_send(int fd, const void *data, size_t len, int flags)
{
    return syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}
static inline ssize_t socket_call_sendmsg(int fd, const struct msghdr *message, int flags)
{
    return syscall(SYS_sendmsg, fd, message, flags);
}
static inline ssize_t socket_call_recv(int fd, void *out, size_t len, int flags)
{
    return syscall(SYS_recvfrom, fd, out, len, flags, NULL, NULL);
}
#endif
#endif
