/* steelyard: the operator's tool. The process edge; everything else is in ctl_run. */
#include <signal.h>
#include <stdio.h>

#include "common/net/fetch.h"
#include "controlplane/ctl/ctl.h"

int main(int argc, char **argv)
{
    struct err err = {0};
    signal(SIGPIPE, SIG_IGN);
    if (fetch_global_init(&err) != 0) {
        fprintf(stderr, "steelyard: %s\n", err.message);
        return CTL_FAILED;
    }
    enum ctl_exit code = ctl_run(argc, argv, stdout, stderr);
    fetch_global_deinit();
    return (int)code;
}
