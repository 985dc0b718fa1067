#include "common/net/undelivered.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#define STATE_CLOSE 7 /* TCP_CLOSE of the kernel: here, after a reset. */

/* A reset that came behind an orderly end is told as EPIPE (tcp_reset of the kernel): the peer's
 * program had closed the connection, and what came after that found nobody. */
static bool reset_without_end(int fd, unsigned state)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (state != STATE_CLOSE)
        return false;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != EPIPE;
}

bool undelivered_at_end(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof info.tcpi_bytes_retrans)
        return false; /* No TCP, or a kernel that does not say (before 4.19). */
    if (reset_without_end(fd, info.tcpi_state))
        return false;
    /* The acknowledged ones include the SYN: a single byte that is missing is not seen. */
    return info.tcpi_bytes_sent - info.tcpi_bytes_retrans > info.tcpi_bytes_acked;
}
