#include "controlplane/ctl/progress.h"

#define BAR_CELLS 30U

void progress_init(struct progress *p, FILE *to, bool is_terminal, bool quiet, const char *what)
{
    *p = (struct progress){.to = to, .bar = is_terminal, .quiet = quiet, .what = what};
    p->last_tenth = -1;
    p->last_permille = ~0U;
}

void progress_update(struct progress *p, uint64_t done, uint64_t total, const char *note)
{
    if (p->quiet)
        return;
    if (done > total)
        done = total;
    unsigned permille = total > 0 ? (unsigned)((double)done / (double)total * 1000.0) : 0;
    if (p->bar) {
        if (permille == p->last_permille && note == NULL)
            return;
        char cells[BAR_CELLS + 1];
        for (unsigned i = 0; i < BAR_CELLS; i++)
            cells[i] = i < permille * BAR_CELLS / 1000 ? '#' : '.';
        cells[BAR_CELLS] = '\0';
        fprintf(p->to, "\r%s [%s] %3u%% %llu/%llu %s\033[K", p->what, cells, permille / 10,
                (unsigned long long)done, (unsigned long long)total, note != NULL ? note : "");
        p->drawn = true;
    } else if ((int)(permille / 100) > p->last_tenth) {
        fprintf(p->to, "%s: %u%% (%llu of %llu)%s%s\n", p->what, permille / 10,
                (unsigned long long)done, (unsigned long long)total, note != NULL ? " " : "",
                note != NULL ? note : "");
        p->last_tenth = (int)(permille / 100);
    }
    p->last_permille = permille;
    fflush(p->to);
}

void progress_end(struct progress *p)
{
    if (p->drawn)
        fputc('\n', p->to);
    p->drawn = false;
}
