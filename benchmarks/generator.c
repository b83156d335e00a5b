/*
 * Load generator for brokers that speak Kafka's protocol: one thread, epoll, requests encoded beforehand.
 *
 *   generator load    PLAN PORT CONNECTIONS DEPTH WARMUP_S SECONDS MAX_BYTES MAX_REQUESTS BROKER_PID
 *   generator latency PLAN PORT RATE WARMUP_S SECONDS BROKER_PID [TIMES]
 *
 * `load` keeps DEPTH requests in flight on each of CONNECTIONS connections (closed loop). The measured window opens
 * after WARMUP_S and closes after SECONDS or MAX_BYTES (0: no limit), whichever comes first; with MAX_REQUESTS > 0
 * it sends exactly that many requests instead, to fill a topic.
 * `latency` sends frame 0 (a produce request) RATE times a second on one connection, follows the partition with
 * frame 1 (a fetch that long-polls) on another, and measures from the time a record was due to be sent until it is
 * read, and until the produce request is answered. A late sender therefore counts against the broker that made it late.
 * SIGTERM closes its window early. TIMES is a file that gets three int64 of this machine for each record of the window,
 * nanoseconds of CLOCK_MONOTONIC: when it was due, when its request was answered, when it was read.
 *
 * PLAN is written by plan.py; its layout is described there. The answer is one JSON object on stdout. The CPU time of
 * the broker is read from /proc/BROKER_PID/stat (user + system, all threads, reaped children) at both ends of the
 * window. Any error code in any answer ends the run with exit status 3.
 */
#include "common.h"

#define MAX_FRAMES 64
#define MAX_CONNECTIONS 256
#define MAX_DEPTH 64
#define MAX_ERROR_POSITIONS 64
#define HEAD_BYTES 4096
#define SMALL_FRAME 2048
#define RECEIVE_BYTES (256 * 1024)
#define DRAIN_NS 20000000000LL
#define LATENCY_BUFFER (4 * 1024 * 1024)

/* ---- the plan: what to send and what a good answer looks like ---- */

struct frame {
    uint32_t length;            /* with the size prefix */
    uint32_t payload_bytes;     /* counted for each answer; 0: the answer's own length */
    uint32_t offset_position;   /* where the fetch offset lies; 0: nothing to patch */
    int64_t first_offset;
    int64_t offset_step;
    int64_t end_offset;         /* wraps to first_offset here */
    uint32_t minimum_answer;    /* bytes after the size prefix */
    uint32_t records_position;  /* fetch, latency mode: the length of the records in the answer's body */
    uint32_t error_count;
    uint32_t errors[MAX_ERROR_POSITIONS]; /* int16 error codes, from the start of the answer's body */
    uint32_t head_bytes;
    uint8_t *bytes;
};

static struct frame frames[MAX_FRAMES];
static unsigned frame_count;

static void read_plan(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_errno(path);
    frame_count = (unsigned)plan_number(file, 4);
    if (frame_count == 0 || frame_count > MAX_FRAMES)
        fail("the plan has no frames, or too many");
    for (unsigned i = 0; i < frame_count; i++) {
        struct frame *frame = &frames[i];
        frame->length = (uint32_t)plan_number(file, 4);
        frame->payload_bytes = (uint32_t)plan_number(file, 4);
        frame->offset_position = (uint32_t)plan_number(file, 4);
        frame->first_offset = (int64_t)plan_number(file, 8);
        frame->offset_step = (int64_t)plan_number(file, 8);
        frame->end_offset = (int64_t)plan_number(file, 8);
        frame->minimum_answer = (uint32_t)plan_number(file, 4);
        frame->records_position = (uint32_t)plan_number(file, 4);
        frame->error_count = (uint32_t)plan_number(file, 4);
        if (frame->error_count > MAX_ERROR_POSITIONS)
            fail("the plan has too many error positions");
        for (uint32_t e = 0; e < frame->error_count; e++) {
            frame->errors[e] = (uint32_t)plan_number(file, 4);
            if (frame->errors[e] + 2 > frame->head_bytes)
                frame->head_bytes = frame->errors[e] + 2;
        }
        if (frame->head_bytes < 4)
            frame->head_bytes = 4;
        if (frame->head_bytes + 4 > HEAD_BYTES)
            fail("the plan's error positions are too far into the answer");
        if (frame->offset_position != 0 && frame->length > SMALL_FRAME)
            fail("a frame with a fetch offset must be small");
        frame->bytes = malloc(frame->length);
        if (frame->bytes == NULL || fread(frame->bytes, 1, frame->length, file) != frame->length)
            fail("the plan ends early");
    }
    fclose(file);
}

static void check_answer(const struct frame *frame, const uint8_t *body, uint32_t size, uint32_t correlation) {
    if (read_u32(body) != correlation)
        fail("an answer has the wrong correlation id");
    for (uint32_t e = 0; e < frame->error_count; e++) {
        int code = (int16_t)(body[frame->errors[e]] << 8 | body[frame->errors[e] + 1]);
        if (code != 0) {
            fprintf(stderr, "generator: the broker answered with error code %d\n", code);
            exit(3);
        }
    }
    if (size < frame->minimum_answer) {
        fprintf(stderr, "generator: an answer of %u bytes is shorter than the %u expected\n", size,
                frame->minimum_answer);
        exit(3);
    }
}

/* ---- connections ---- */

struct connection {
    int socket;
    const struct frame *frame;
    unsigned in_flight;
    uint32_t next_correlation; /* of the next request to send; requests [oldest, next) are in flight */
    uint32_t oldest_correlation;
    int64_t sent_ns[MAX_DEPTH];
    int64_t next_offset;
    /* small frames: copies of whole requests still to be sent */
    uint8_t *output;
    size_t output_start, output_end;
    /* large frames: one request partly sent */
    uint8_t header[12];
    size_t large_sent; /* 0: none under way */
    int wants_output;
    /* the answer being read */
    uint8_t head[HEAD_BYTES];
    uint32_t head_filled;
    uint64_t skip; /* bytes of the answer that remain after its head */
    uint32_t answer_size;
};

static struct connection connections[MAX_CONNECTIONS];
static uint8_t *receive_buffer;
static int poller;
static int sending = 1;
static int64_t requests_left = -1; /* -1: no limit */
static uint64_t answered, answered_bytes;
static unsigned total_in_flight;

static void watch(struct connection *connection, int operation, int wants_output) {
    struct epoll_event event = {.events = EPOLLIN | (wants_output ? EPOLLOUT : 0), .data.ptr = connection};
    if (epoll_ctl(poller, operation, connection->socket, &event) != 0)
        fail_errno("epoll_ctl");
    connection->wants_output = wants_output;
}

static int may_send(const struct connection *connection, unsigned depth) {
    return sending && connection->in_flight < depth && requests_left != 0;
}

static void note_sent(struct connection *connection, int64_t now) {
    connection->sent_ns[connection->next_correlation % MAX_DEPTH] = now;
    connection->next_correlation++;
    connection->in_flight++;
    total_in_flight++;
    if (requests_left > 0)
        requests_left--;
}

static ssize_t checked_send(ssize_t sent) {
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    fail_errno("send");
    return 0;
}

/* Returns whether something is left over because the socket is full. */
static int send_small(struct connection *connection, unsigned depth, int64_t now) {
    const struct frame *frame = connection->frame;
    if (connection->output_start == connection->output_end) {
        connection->output_start = connection->output_end = 0;
        while (may_send(connection, depth)) {
            uint8_t *request = connection->output + connection->output_end;
            memcpy(request, frame->bytes, frame->length);
            write_u32(request + CORRELATION_POSITION, connection->next_correlation);
            if (frame->offset_position != 0) {
                write_i64(request + frame->offset_position, connection->next_offset);
                connection->next_offset += frame->offset_step;
                if (connection->next_offset >= frame->end_offset)
                    connection->next_offset = frame->first_offset;
            }
            connection->output_end += frame->length;
            note_sent(connection, now);
        }
    }
    size_t length = connection->output_end - connection->output_start;
    if (length == 0)
        return 0;
    ssize_t sent = checked_send(
        send(connection->socket, connection->output + connection->output_start, length, MSG_DONTWAIT | MSG_NOSIGNAL));
    connection->output_start += (size_t)sent;
    return connection->output_start != connection->output_end;
}

static int send_large(struct connection *connection, unsigned depth, int64_t now) {
    const struct frame *frame = connection->frame;
    for (;;) {
        if (connection->large_sent == 0) {
            if (!may_send(connection, depth))
                return 0;
            memcpy(connection->header, frame->bytes, 12);
            write_u32(connection->header + CORRELATION_POSITION, connection->next_correlation);
            note_sent(connection, now);
        }
        size_t done = connection->large_sent;
        size_t in_header = done < 12 ? 12 - done : 0;
        size_t body_done = done < 12 ? 12 : done;
        struct iovec parts[2] = {{connection->header + (12 - in_header), in_header},
                                 {frame->bytes + body_done, frame->length - body_done}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent = checked_send(sendmsg(connection->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
        connection->large_sent += (size_t)sent;
        if (connection->large_sent < frame->length)
            return 1;
        connection->large_sent = 0;
    }
}

static void send_more(struct connection *connection, unsigned depth, int64_t now) {
    int left_over = connection->frame->length <= SMALL_FRAME ? send_small(connection, depth, now)
                                                             : send_large(connection, depth, now);
    if (left_over != connection->wants_output)
        watch(connection, EPOLL_CTL_MOD, left_over);
}

static void finish_answer(struct connection *connection, int64_t now) {
    histogram_add(&latencies, now - connection->sent_ns[connection->oldest_correlation % MAX_DEPTH]);
    connection->oldest_correlation++;
    connection->in_flight--;
    total_in_flight--;
    answered++;
    answered_bytes += connection->frame->payload_bytes ? connection->frame->payload_bytes : connection->answer_size;
    connection->head_filled = 0;
}

static void take_bytes(struct connection *connection, const uint8_t *bytes, size_t length, int64_t now) {
    const struct frame *frame = connection->frame;
    while (length > 0) {
        if (connection->skip > 0) {
            size_t skipped = length < connection->skip ? length : (size_t)connection->skip;
            connection->skip -= skipped;
            bytes += skipped;
            length -= skipped;
            if (connection->skip == 0)
                finish_answer(connection, now);
            continue;
        }
        uint32_t wanted = connection->head_filled < 4 ? 4 : frame->head_bytes + 4;
        uint32_t taken = wanted - connection->head_filled;
        if (taken > length)
            taken = (uint32_t)length;
        memcpy(connection->head + connection->head_filled, bytes, taken);
        connection->head_filled += taken;
        bytes += taken;
        length -= taken;
        if (connection->head_filled == 4) {
            connection->answer_size = read_u32(connection->head);
            if (connection->answer_size < frame->head_bytes)
                fail("an answer is too short to hold its error codes");
        } else if (connection->head_filled == frame->head_bytes + 4) {
            check_answer(frame, connection->head + 4, connection->answer_size, connection->oldest_correlation);
            connection->skip = connection->answer_size - frame->head_bytes;
            if (connection->skip == 0)
                finish_answer(connection, now);
        }
    }
}

static void receive(struct connection *connection) {
    for (;;) {
        ssize_t length = recv(connection->socket, receive_buffer, RECEIVE_BYTES, MSG_DONTWAIT);
        if (length == 0)
            fail("the broker closed a connection");
        if (length < 0) {
            if (errno == EAGAIN || errno == EINTR)
                return;
            fail_errno("recv");
        }
        take_bytes(connection, receive_buffer, (size_t)length, now_ns());
        if (length < RECEIVE_BYTES)
            return;
    }
}

static void poll_once(unsigned depth, int timeout_ms) {
    struct epoll_event events[64];
    int count = epoll_wait(poller, events, 64, timeout_ms);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (events[i].events & ~EPOLLOUT)
            receive(connection);
        send_more(connection, depth, now_ns());
    }
}

static void open_connections(unsigned count, int port) {
    for (unsigned i = 0; i < count; i++) {
        struct connection *connection = &connections[i];
        const struct frame *frame = &frames[i % frame_count];
        connection->frame = frame;
        connection->socket = open_socket(port);
        connection->output = malloc((size_t)SMALL_FRAME * MAX_DEPTH);
        if (connection->output == NULL)
            fail("out of memory");
        connection->next_offset = frame->first_offset;
        if (frame->offset_position != 0) { /* spread the readers over the partition */
            int64_t batches = (frame->end_offset - frame->first_offset) / frame->offset_step;
            connection->next_offset += batches * i / count * frame->offset_step;
        }
        watch(connection, EPOLL_CTL_ADD, 0);
    }
}

static int run_load(int argc, char **argv) {
    if (argc != 11)
        fail("load needs PLAN PORT CONNECTIONS DEPTH WARMUP_S SECONDS MAX_BYTES MAX_REQUESTS BROKER_PID");
    read_plan(argv[2]);
    unsigned count = (unsigned)atoi(argv[4]), depth = (unsigned)atoi(argv[5]);
    double warmup_s = atof(argv[6]), window_s = atof(argv[7]);
    uint64_t max_bytes = strtoull(argv[8], NULL, 10);
    int64_t max_requests = atoll(argv[9]);
    long pid = atol(argv[10]);
    if (count == 0 || count > MAX_CONNECTIONS || depth == 0 || depth > MAX_DEPTH)
        fail("too many connections, or too many requests in flight");
    requests_left = max_requests > 0 ? max_requests : -1;
    open_connections(count, atoi(argv[3]));

    int64_t start = now_ns(), opened = 0, closed = 0;
    double broker_cpu = 0, generator_cpu = 0, machine_cpu = 0;
    const char *stopped_by = "time";
    for (unsigned i = 0; i < count; i++)
        send_more(&connections[i], depth, now_ns());
    for (;;) {
        poll_once(depth, 10);
        int64_t now = now_ns();
        if (opened == 0) {
            if (max_requests > 0 || (double)(now - start) >= warmup_s * 1e9) {
                if (max_requests <= 0) {
                    histogram_reset(&latencies);
                    answered = answered_bytes = 0;
                }
                broker_cpu = process_cpu_s(pid);
                generator_cpu = own_cpu_s();
                machine_cpu = machine_cpu_s();
                opened = max_requests > 0 ? start : now_ns();
            }
            continue;
        }
        if (max_requests > 0 ? requests_left == 0 && total_in_flight == 0
                             : (double)(now - opened) >= window_s * 1e9)
            break;
        if (max_bytes > 0 && answered_bytes >= max_bytes) {
            stopped_by = "bytes";
            break;
        }
    }
    closed = now_ns();
    broker_cpu = process_cpu_s(pid) - broker_cpu;
    generator_cpu = own_cpu_s() - generator_cpu;
    machine_cpu = machine_cpu_s() - machine_cpu;
    printf("{\"requests\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"broker_cpu_s\": %.3f, "
           "\"generator_cpu_s\": %.3f, \"machine_cpu_s\": %.3f, \"stopped_by\": \"%s\", ",
           (unsigned long long)answered, (unsigned long long)answered_bytes, (double)(closed - opened) / 1e9,
           broker_cpu, generator_cpu, machine_cpu, stopped_by);
    print_latency("latency_us", &latencies);
    printf("}\n");

    sending = 0;
    while (total_in_flight > 0 && now_ns() - closed < DRAIN_NS)
        poll_once(depth, 10);
    if (total_in_flight > 0)
        fail("requests were left unanswered for 20 s");
    return 0;
}

/* ---- end-to-end latency ---- */

struct reader {
    int socket;
    uint8_t *buffer;
    size_t filled;
    uint32_t correlation;
    int64_t next_offset;
};

static void send_all(int socket, const uint8_t *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(socket, bytes, length, MSG_NOSIGNAL);
        if (sent < 0)
            fail_errno("send");
        bytes += sent;
        length -= (size_t)sent;
    }
}

static void send_fetch(struct reader *reader, const struct frame *frame) {
    write_u32(frame->bytes + CORRELATION_POSITION, reader->correlation);
    write_i64(frame->bytes + frame->offset_position, reader->next_offset);
    send_all(reader->socket, frame->bytes, frame->length);
}

/* Reads one whole answer when it is there; returns its size, or 0. */
static uint32_t receive_answer(struct reader *reader) {
    ssize_t length = recv(reader->socket, reader->buffer + reader->filled, LATENCY_BUFFER - reader->filled, MSG_DONTWAIT);
    if (length == 0)
        fail("the broker closed a connection");
    if (length < 0 && errno != EAGAIN && errno != EINTR)
        fail_errno("recv");
    if (length > 0)
        reader->filled += (size_t)length;
    if (reader->filled < 4)
        return 0;
    uint32_t size = read_u32(reader->buffer);
    if (size + 4 > LATENCY_BUFFER)
        fail("an answer is too large");
    return reader->filled >= size + 4 ? size : 0;
}

static void drop_answer(struct reader *reader, uint32_t size) {
    reader->filled -= size + 4;
    memmove(reader->buffer, reader->buffer + size + 4, reader->filled);
    reader->correlation++;
}

struct record_times {
    int64_t due_ns; /* 0: ahead of the window */
    int64_t answered_ns;
    int64_t read_ns;
};

static volatile sig_atomic_t is_asked_to_end;

static void ask_to_end(int signal) {
    (void)signal;
    is_asked_to_end = 1;
}

static void write_times(const char *path, const struct record_times *times, size_t count) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(times, sizeof *times, count, file) != count || fclose(file) != 0)
        fail_errno(path);
}

/* The offset after the last record in a fetch answer. Each record's latency counts from when it was due. */
static int64_t take_records(const struct frame *frame, const uint8_t *body, uint32_t size, int64_t next_offset,
                            struct record_times *times, int64_t now) {
    size_t position = frame->records_position;
    uint64_t length = 0;
    for (int shift = 0; position < size; shift += 7) {
        uint8_t byte = body[position++];
        length |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    size_t end = position + (length ? length - 1 : 0);
    if (end > size)
        fail("a fetch answer is malformed");
    while (position + 61 <= end) {
        int64_t last = read_i64(body + position) + (int64_t)read_u32(body + position + 23);
        size_t batch = (size_t)read_u32(body + position + 8) + 12;
        if (position + batch > end)
            break;
        for (; next_offset <= last; next_offset++) {
            times[next_offset].read_ns = now;
            if (times[next_offset].due_ns != 0)
                histogram_add(&latencies, now - times[next_offset].due_ns);
        }
        position += batch;
    }
    return next_offset;
}

static struct histogram answers; /* to produce requests; with acks=1 they wait for the broker's threads, and no sync */

static int run_latency(int argc, char **argv) {
    if (argc != 8 && argc != 9)
        fail("latency needs PLAN PORT RATE WARMUP_S SECONDS BROKER_PID [TIMES]");
    read_plan(argv[2]);
    if (frame_count != 2)
        fail("latency needs a plan of two frames");
    int port = atoi(argv[3]);
    double rate = atof(argv[4]), warmup_s = atof(argv[5]), window_s = atof(argv[6]);
    long pid = atol(argv[7]);
    int64_t total = (int64_t)(rate * (warmup_s + window_s)), warmup = (int64_t)(rate * warmup_s);
    struct frame *produce = &frames[0];
    const struct frame *fetch = &frames[1];
    struct record_times *times = calloc((size_t)total + 1, sizeof *times);
    struct reader producer = {.socket = open_socket(port), .buffer = malloc(LATENCY_BUFFER)};
    struct reader consumer = {.socket = open_socket(port), .buffer = malloc(LATENCY_BUFFER)};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (times == NULL || producer.buffer == NULL || consumer.buffer == NULL || timer < 0)
        fail("out of memory");
    prctl(PR_SET_TIMERSLACK, 1UL);
    int sources[3] = {timer, producer.socket, consumer.socket};
    for (int i = 0; i < 3; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = sources[i]};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, sources[i], &event) != 0)
            fail_errno("epoll_ctl");
    }
    signal(SIGTERM, ask_to_end);
    send_fetch(&consumer, fetch);

    int64_t interval_ns = (int64_t)(1e9 / rate), start = now_ns() + 20000000LL, sent = 0;
    struct itimerspec schedule = {{interval_ns / 1000000000, interval_ns % 1000000000},
                                  {start / 1000000000, start % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &schedule, NULL);
    double broker_cpu = 0, generator_cpu = 0, machine_cpu = 0;
    int64_t opened = 0;
    while (consumer.next_offset < total) {
        struct epoll_event events[8];
        int count = epoll_wait(poller, events, 8, 1000);
        int64_t now = now_ns();
        if (is_asked_to_end && sent > warmup && sent < total)
            total = sent;
        if (now - start > (int64_t)((warmup_s + window_s) * 1e9) + DRAIN_NS)
            fail("records did not reach the consumer within 20 s");
        for (int i = 0; i < count; i++) {
            uint32_t size;
            if (events[i].data.fd == timer) {
                uint64_t ticks;
                if (read(timer, &ticks, sizeof ticks) < 0)
                    continue;
                for (; sent < total && start + sent * interval_ns <= now; sent++) {
                    if (sent == warmup) {
                        broker_cpu = process_cpu_s(pid);
                        generator_cpu = own_cpu_s();
                        machine_cpu = machine_cpu_s();
                        opened = now;
                    }
                    times[sent].due_ns = sent >= warmup ? start + sent * interval_ns : 0;
                    write_u32(produce->bytes + CORRELATION_POSITION, (uint32_t)sent);
                    send_all(producer.socket, produce->bytes, produce->length);
                }
            } else if (events[i].data.fd == producer.socket) {
                for (size = receive_answer(&producer); size > 0; size = receive_answer(&producer)) {
                    check_answer(produce, producer.buffer + 4, size, producer.correlation);
                    struct record_times *answered = &times[producer.correlation];
                    answered->answered_ns = now_ns();
                    if (answered->due_ns != 0)
                        histogram_add(&answers, answered->answered_ns - answered->due_ns);
                    drop_answer(&producer, size);
                }
            } else {
                size = receive_answer(&consumer);
                if (size == 0)
                    continue;
                now = now_ns();
                check_answer(fetch, consumer.buffer + 4, size, consumer.correlation);
                consumer.next_offset =
                    take_records(fetch, consumer.buffer + 4, size, consumer.next_offset, times, now);
                drop_answer(&consumer, size);
                if (consumer.next_offset < total)
                    send_fetch(&consumer, fetch);
            }
        }
    }
    int64_t closed = now_ns();
    if (argc == 9)
        write_times(argv[8], times + warmup, (size_t)(total - warmup));
    printf("{\"requests\": %lld, \"bytes\": %lld, \"seconds\": %.6f, \"broker_cpu_s\": %.3f, "
           "\"generator_cpu_s\": %.3f, \"machine_cpu_s\": %.3f, \"stopped_by\": \"time\", ",
           (long long)(total - warmup), (long long)(total - warmup) * produce->payload_bytes,
           (double)(closed - opened) / 1e9, process_cpu_s(pid) - broker_cpu, own_cpu_s() - generator_cpu,
           machine_cpu_s() - machine_cpu);
    print_latency("latency_us", &latencies);
    printf(", ");
    print_latency("answer_us", &answers);
    printf("}\n");
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    poller = epoll_create1(0);
    receive_buffer = malloc(RECEIVE_BYTES);
    if (poller < 0 || receive_buffer == NULL)
        fail("cannot set up");
    if (argc > 1 && strcmp(argv[1], "load") == 0)
        return run_load(argc, argv);
    if (argc > 1 && strcmp(argv[1], "latency") == 0)
        return run_latency(argc, argv);
    fail("usage: generator load|latency ...");
    return 1;
}
