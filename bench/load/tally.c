#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAILURE_KINDS = 16 };

static struct {
    const char *why;
    unsigned long times;
} failures[FAILURE_KINDS];

void tally_start(tally *t)
{
    *t = (tally){ .room = 1 << 16 };
    t->times = malloc(t->room * sizeof *t->times);
    if (t->times == NULL) die("malloc");
}

void tally_time(tally *t, double started, double ended)
{
    if (t->done == t->room) {
        t->room *= 2;
        t->times = realloc(t->times, t->room * sizeof *t->times);
        if (t->times == NULL) die("realloc");
    }
    t->times[t->done++] = (float)((ended - started) * 1000);
}

void tally_failure(tally *t, const char *why)
{
    t->failed++;
    for (int i = 0; i < FAILURE_KINDS; i++) {
        if (failures[i].why == NULL) failures[i].why = why;
        if (strcmp(failures[i].why, why) == 0) {
            failures[i].times++;
            break;
        }
    }
    if (t->failed > 1000 && t->failed > t->done) {
        errno = 0;
        die(why);
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const tally *t, double share)
{
    if (t->done == 0) return 0;
    size_t index = (size_t)(share * (double)t->done);
    return t->times[index < t->done ? index : t->done - 1];
}

void tally_report(tally *t, const char *name, double took)
{
    qsort(t->times, t->done, sizeof *t->times, by_value);
    printf("{\"%s\":%zu,\"failed\":%zu,\"seconds\":%.3f,\"rate\":%.1f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"failures\":{", name, t->done, t->failed, took,
           (double)t->done / took, percentile(t, 0.5), percentile(t, 0.99), percentile(t, 1));
    for (int i = 0; i < FAILURE_KINDS && failures[i].why != NULL; i++) printf("%s\"%s\":%lu", i == 0 ? "" : ",", failures[i].why, failures[i].times);
    printf("}");
}
