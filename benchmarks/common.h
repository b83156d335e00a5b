/*
 * What both load generators need: big-endian numbers, a histogram of latencies, CPU times, a socket.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HISTOGRAM_BUCKETS (64 * 40)
#define CORRELATION_POSITION 8

static void fail(const char *message) {
    fprintf(stderr, "generator: %s\n", message);
    exit(1);
}

static void fail_errno(const char *message) {
    fprintf(stderr, "generator: %s: %s\n", message, strerror(errno));
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000LL + time.tv_nsec;
}

static uint32_t read_u32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, 4);
    return be32toh(value);
}

static int64_t read_i64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, 8);
    return (int64_t)be64toh(value);
}

static void write_u32(uint8_t *bytes, uint32_t value) {
    value = htobe32(value);
    memcpy(bytes, &value, 4);
}

static void write_i64(uint8_t *bytes, int64_t value) {
    uint64_t swapped = htobe64((uint64_t)value);
    memcpy(bytes, &swapped, 8);
}

/* ---- latency histogram: 64 steps per power of two, so a percentile is at most 1.6 % too high ---- */

struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count;
    double sum_ns;
    uint64_t max_ns;
};

static struct histogram latencies; /* what every run measures */

static void histogram_reset(struct histogram *histogram) {
    memset(histogram, 0, sizeof *histogram);
}

static void histogram_add(struct histogram *histogram, int64_t elapsed_ns) {
    uint64_t value = elapsed_ns < 0 ? 0 : (uint64_t)elapsed_ns;
    unsigned bucket = (unsigned)value;
    if (value >= 64) {
        unsigned shift = 57 - (unsigned)__builtin_clzll(value);
        bucket = shift * 64 + (unsigned)(value >> shift);
    }
    if (bucket >= HISTOGRAM_BUCKETS)
        bucket = HISTOGRAM_BUCKETS - 1;
    histogram->buckets[bucket]++;
    histogram->count++;
    histogram->sum_ns += (double)value;
    if (value > histogram->max_ns)
        histogram->max_ns = value;
}

static double bucket_upper_us(unsigned bucket) {
    if (bucket < 128)
        return bucket / 1000.0;
    unsigned shift = bucket / 64 - 1;
    return (double)((uint64_t)(bucket - shift * 64 + 1) << shift) / 1000.0;
}

static double percentile_us(const struct histogram *histogram, double fraction) {
    uint64_t wanted = (uint64_t)(fraction * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > wanted)
            return bucket_upper_us(bucket);
    }
    return (double)histogram->max_ns / 1000.0;
}

static void print_latency(const char *name, const struct histogram *histogram) {
    printf("\"%s\": {\"count\": %llu, \"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
           "\"p99_9\": %.1f, \"max\": %.1f}",
           name, (unsigned long long)histogram->count,
           histogram->count ? histogram->sum_ns / (double)histogram->count / 1000.0 : 0.0,
           percentile_us(histogram, 0.5), percentile_us(histogram, 0.9), percentile_us(histogram, 0.99),
           percentile_us(histogram, 0.999), (double)histogram->max_ns / 1000.0);
}

/* ---- CPU time ---- */

static double process_cpu_s(long pid) {
    if (pid <= 0)
        return 0;
    char path[64], line[2048];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail("the broker's process is gone");
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = 0;
    char *after_name = strrchr(line, ')');
    unsigned long long user = 0, system = 0;
    long long child_user = 0, child_system = 0;
    if (after_name == NULL || sscanf(after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld",
                                     &user, &system, &child_user, &child_system) != 4)
        fail("cannot read the broker's CPU time");
    return (double)(user + system + (unsigned long long)(child_user + child_system)) / (double)sysconf(_SC_CLK_TCK);
}

/* Busy time of all cores, whoever uses them: tells whether something else disturbed the window. */
static double machine_cpu_s(void) {
    unsigned long long user, nice, system, idle, wait, irq, softirq, steal;
    FILE *file = fopen("/proc/stat", "r");
    if (file == NULL || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait,
                               &irq, &softirq, &steal) != 8)
        fail("cannot read the machine's CPU time");
    fclose(file);
    return (double)(user + nice + system + irq + softirq + steal) / (double)sysconf(_SC_CLK_TCK);
}

static double own_cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t plan_number(FILE *file, int bytes) {
    uint8_t raw[8];
    if (fread(raw, 1, (size_t)bytes, file) != (size_t)bytes)
        fail("the plan ends early");
    return bytes == 4 ? read_u32(raw) : (uint64_t)read_i64(raw);
}

static int open_socket(int port) {
    int handle = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (handle < 0 || connect(handle, (struct sockaddr *)&address, sizeof address) != 0)
        fail_errno("connect");
    setsockopt(handle, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return handle;
}
