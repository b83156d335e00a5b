/*
 * Load generator for transactions: one thread, epoll, requests encoded beforehand.
 *
 *   transactions PLAN PORT WARMUP_S SECONDS BROKER_PID
 *
 * Each connection of the plan is one transactional producer, and goes through its requests again and again; one time
 * through is one transaction. Requests of one stage are sent together, those of the next one when all are answered.
 * Producer id and epoch are written into each request, and into the record batches that it carries; the last request,
 * EndTxn 5, answers with the ones for the next transaction. The CRC of a batch is mended bit by bit: it is linear, so
 * what each bit of id and epoch does to it is computed once, and a transaction costs some XORs and not a CRC.
 *
 * The measured window opens after WARMUP_S and lasts SECONDS. Counted are transactions that end in it, with the time
 * from their first request to their last answer, and the bytes of the batches in them. CONCURRENT_TRANSACTIONS (the end
 * of the transaction before is still being written) makes a client ask again, here after RETRY_NS; any other error
 * ends the run with exit status 3.
 *
 * PLAN is written by transactions.py, all numbers big-endian: connections; then for each connection producer id, epoch
 * and requests; then for each request what `struct request` holds from `length` to `batches`, and its bytes.
 */
#include "common.h"

#define MAX_REQUESTS 16
#define MAX_POSITIONS 16
#define ANSWER_BYTES (1 << 20)
#define IDENTITY_BYTES 10 /* producer id and epoch, which lie side by side everywhere */
#define BATCH_CRC 17
#define BATCH_CHECKED 21
#define BATCH_IDENTITY 43
#define CONCURRENT_TRANSACTIONS 51
#define RETRY_NS 2000000

struct batch {
    uint32_t position;
    uint32_t length;
    uint32_t crc; /* with the identity all zero */
    uint32_t bit_crc[IDENTITY_BYTES * 8];
};

struct request {
    uint32_t length; /* with the size prefix */
    uint32_t stage;
    uint32_t payload_bytes;
    uint32_t identity_position; /* 0: none but in batches */
    uint32_t offset_position;   /* of a fetch offset; 0: none */
    uint32_t next_identity;     /* where the answer, after its size, holds the identity for what comes; 0: nowhere */
    uint32_t minimum_answer;
    int64_t offset, first_offset, offset_step, end_offset;
    uint32_t error_count;
    uint32_t errors[MAX_POSITIONS]; /* in the answer, after its size */
    uint32_t batch_count;
    struct batch batches[MAX_POSITIONS];
    uint8_t *bytes;
};

struct producer {
    int socket;
    uint8_t identity[IDENTITY_BYTES];
    unsigned request_count;
    struct request requests[MAX_REQUESTS];
    unsigned stage_begin, stage_end; /* the requests under way */
    unsigned awaited;                /* the first of them that is not answered */
    int is_refused;                  /* one of them is to be asked again */
    int64_t retry_ns;                /* when; 0: nothing to retry */
    uint32_t correlation;
    int64_t began_ns;
    uint8_t *output;
    size_t output_start, output_end;
    int wants_output;
    uint8_t *answer;
    size_t filled;
};

static struct producer *producers;
static unsigned producer_count;
static int poller;
static uint64_t transactions, transaction_bytes, retries;
static size_t output_bytes;

/* ---- CRC-32C ---- */

static uint32_t crc_table[256];

static void make_crc_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        crc_table[i] = crc;
    }
}

static uint32_t crc_over(uint32_t crc, const uint8_t *bytes, size_t length) {
    for (size_t i = 0; i < length; i++)
        crc = crc_table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    return crc;
}

static void prepare_batch(struct batch *batch, uint8_t *bytes) {
    static const uint8_t zeros[1] = {0};
    memset(bytes + BATCH_IDENTITY, 0, IDENTITY_BYTES);
    batch->crc = ~crc_over(~0u, bytes + BATCH_CHECKED, batch->length - BATCH_CHECKED);
    size_t behind = batch->length - BATCH_IDENTITY - IDENTITY_BYTES;
    for (unsigned bit = 0; bit < IDENTITY_BYTES * 8; bit++) {
        uint8_t one[IDENTITY_BYTES] = {0};
        one[bit / 8] = (uint8_t)(1u << (bit % 8));
        uint32_t crc = crc_over(0, one, IDENTITY_BYTES);
        for (size_t i = 0; i < behind; i++)
            crc = crc_over(crc, zeros, 1);
        batch->bit_crc[bit] = crc;
    }
}

static void identify_batch(const struct batch *batch, uint8_t *bytes, const uint8_t *identity) {
    uint32_t crc = batch->crc;
    for (unsigned bit = 0; bit < IDENTITY_BYTES * 8; bit++)
        if (identity[bit / 8] >> (bit % 8) & 1)
            crc ^= batch->bit_crc[bit];
    memcpy(bytes + BATCH_IDENTITY, identity, IDENTITY_BYTES);
    write_u32(bytes + BATCH_CRC, crc);
}

/* ---- the plan ---- */

static void read_request(FILE *file, struct request *request) {
    uint32_t *numbers[] = {&request->length,          &request->stage,         &request->payload_bytes,
                           &request->identity_position, &request->offset_position, &request->next_identity,
                           &request->minimum_answer};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = (uint32_t)plan_number(file, 4);
    request->first_offset = (int64_t)plan_number(file, 8);
    request->offset = (int64_t)plan_number(file, 8);
    request->offset_step = (int64_t)plan_number(file, 8);
    request->end_offset = (int64_t)plan_number(file, 8);
    request->error_count = (uint32_t)plan_number(file, 4);
    request->batch_count = (uint32_t)plan_number(file, 4);
    if (request->error_count > MAX_POSITIONS || request->batch_count > MAX_POSITIONS)
        fail("the plan has too many positions");
    for (uint32_t i = 0; i < request->error_count; i++)
        request->errors[i] = (uint32_t)plan_number(file, 4);
    for (uint32_t i = 0; i < request->batch_count; i++) {
        request->batches[i].position = (uint32_t)plan_number(file, 4);
        request->batches[i].length = (uint32_t)plan_number(file, 4);
    }
    request->bytes = malloc(request->length);
    if (request->bytes == NULL || fread(request->bytes, 1, request->length, file) != request->length)
        fail("the plan ends early");
    for (uint32_t i = 0; i < request->batch_count; i++)
        prepare_batch(&request->batches[i], request->bytes + request->batches[i].position);
}

static void read_plan(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_errno(path);
    producer_count = (unsigned)plan_number(file, 4);
    producers = calloc(producer_count, sizeof *producers);
    if (producers == NULL)
        fail("out of memory");
    for (unsigned p = 0; p < producer_count; p++) {
        struct producer *producer = &producers[p];
        size_t total = 0;
        if (fread(producer->identity, 1, IDENTITY_BYTES, file) != IDENTITY_BYTES)
            fail("the plan ends early");
        producer->request_count = (unsigned)plan_number(file, 4);
        if (producer->request_count == 0 || producer->request_count > MAX_REQUESTS)
            fail("the plan has no requests, or too many");
        for (unsigned r = 0; r < producer->request_count; r++) {
            read_request(file, &producer->requests[r]);
            total += producer->requests[r].length;
        }
        if (total > output_bytes)
            output_bytes = total;
    }
    fclose(file);
}

/* ---- connections ---- */

static void flush_output(struct producer *producer) {
    while (producer->output_start < producer->output_end) {
        ssize_t sent = send(producer->socket, producer->output + producer->output_start,
                            producer->output_end - producer->output_start, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN && errno != EINTR)
                fail_errno("send");
            break;
        }
        producer->output_start += (size_t)sent;
    }
    int left_over = producer->output_start < producer->output_end;
    if (left_over == producer->wants_output)
        return;
    producer->wants_output = left_over;
    struct epoll_event event = {.events = EPOLLIN | (left_over ? EPOLLOUT : 0), .data.ptr = producer};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, producer->socket, &event) != 0)
        fail_errno("epoll_ctl");
}

static void send_stage(struct producer *producer) {
    producer->output_start = producer->output_end = 0;
    producer->awaited = producer->stage_begin;
    producer->is_refused = 0;
    producer->retry_ns = 0;
    for (unsigned r = producer->stage_begin; r < producer->stage_end; r++) {
        struct request *request = &producer->requests[r];
        for (uint32_t b = 0; b < request->batch_count; b++)
            identify_batch(&request->batches[b], request->bytes + request->batches[b].position, producer->identity);
        if (request->identity_position != 0)
            memcpy(request->bytes + request->identity_position, producer->identity, IDENTITY_BYTES);
        if (request->offset_position != 0)
            write_i64(request->bytes + request->offset_position, request->offset);
        write_u32(request->bytes + CORRELATION_POSITION, producer->correlation + (r - producer->stage_begin));
        memcpy(producer->output + producer->output_end, request->bytes, request->length);
        producer->output_end += request->length;
    }
    flush_output(producer);
}

static void begin_stage(struct producer *producer, unsigned begin) {
    producer->stage_begin = producer->stage_end = begin;
    while (producer->stage_end < producer->request_count &&
           producer->requests[producer->stage_end].stage == producer->requests[begin].stage)
        producer->stage_end++;
    if (begin == 0)
        producer->began_ns = now_ns();
    send_stage(producer);
}

static void finish_stage(struct producer *producer) {
    for (unsigned r = producer->stage_begin; r < producer->stage_end; r++) {
        struct request *request = &producer->requests[r];
        if (request->offset_position != 0 && (request->offset += request->offset_step) >= request->end_offset)
            request->offset = request->first_offset;
    }
    if (producer->stage_end < producer->request_count) {
        begin_stage(producer, producer->stage_end);
        return;
    }
    histogram_add(&latencies, now_ns() - producer->began_ns);
    transactions++;
    for (unsigned r = 0; r < producer->request_count; r++)
        transaction_bytes += producer->requests[r].payload_bytes;
    begin_stage(producer, 0);
}

static void take_answer(struct producer *producer, const uint8_t *body, uint32_t size) {
    const struct request *request = &producer->requests[producer->awaited];
    if (size < 4 || read_u32(body) != producer->correlation)
        fail("an answer has the wrong correlation id");
    producer->correlation++;
    int is_refused = 0;
    for (uint32_t e = 0; e < request->error_count; e++) {
        if (request->errors[e] + 2 > size)
            fail("an answer is too short to hold its error codes");
        int code = (int16_t)(body[request->errors[e]] << 8 | body[request->errors[e] + 1]);
        if (code == CONCURRENT_TRANSACTIONS) {
            is_refused = 1;
        } else if (code != 0) {
            fprintf(stderr, "generator: request %u was answered with error code %d\n", producer->awaited, code);
            exit(3);
        }
    }
    if (!is_refused && size < request->minimum_answer) {
        fprintf(stderr, "generator: an answer of %u bytes is shorter than %u\n", size, request->minimum_answer);
        exit(3);
    }
    if (is_refused)
        producer->is_refused = 1;
    else if (request->next_identity != 0)
        memcpy(producer->identity, body + request->next_identity, IDENTITY_BYTES);
    if (++producer->awaited < producer->stage_end)
        return;
    if (producer->is_refused) { /* a stage that may be refused holds one request */
        producer->retry_ns = now_ns() + RETRY_NS;
        retries++;
    } else {
        finish_stage(producer);
    }
}

static void receive(struct producer *producer) {
    ssize_t length =
        recv(producer->socket, producer->answer + producer->filled, ANSWER_BYTES - producer->filled, MSG_DONTWAIT);
    if (length == 0)
        fail("the broker closed a connection");
    if (length < 0) {
        if (errno != EAGAIN && errno != EINTR)
            fail_errno("recv");
        return;
    }
    producer->filled += (size_t)length;
    size_t start = 0;
    while (producer->filled - start >= 4) {
        uint32_t size = read_u32(producer->answer + start);
        if (size + 4 > ANSWER_BYTES)
            fail("an answer is too large");
        if (producer->filled - start < size + 4)
            break;
        take_answer(producer, producer->answer + start + 4, size);
        start += size + 4;
    }
    producer->filled -= start;
    memmove(producer->answer, producer->answer + start, producer->filled);
}

int main(int argc, char **argv) {
    if (argc != 6)
        fail("usage: transactions PLAN PORT WARMUP_S SECONDS BROKER_PID");
    make_crc_table();
    read_plan(argv[1]);
    double warmup_s = atof(argv[3]), window_s = atof(argv[4]);
    long pid = atol(argv[5]);
    poller = epoll_create1(0);
    for (unsigned p = 0; p < producer_count; p++) {
        struct producer *producer = &producers[p];
        producer->socket = open_socket(atoi(argv[2]));
        producer->output = malloc(output_bytes);
        producer->answer = malloc(ANSWER_BYTES);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = producer};
        if (producer->output == NULL || producer->answer == NULL)
            fail("out of memory");
        if (epoll_ctl(poller, EPOLL_CTL_ADD, producer->socket, &event) != 0)
            fail_errno("epoll_ctl");
        begin_stage(producer, 0);
    }
    int64_t start = now_ns(), opened = 0, closed = 0;
    double broker_cpu = 0, generator_cpu = 0, machine_cpu = 0;
    for (;;) {
        struct epoll_event events[64];
        int count = epoll_wait(poller, events, 64, 1);
        for (int i = 0; i < count; i++) {
            struct producer *producer = events[i].data.ptr;
            if (events[i].events & ~EPOLLOUT)
                receive(producer);
            if (producer->output_start < producer->output_end)
                flush_output(producer);
        }
        int64_t now = now_ns();
        for (unsigned p = 0; p < producer_count; p++)
            if (producers[p].retry_ns != 0 && producers[p].retry_ns <= now)
                send_stage(&producers[p]);
        if (opened == 0 && (double)(now - start) >= warmup_s * 1e9) {
            histogram_reset(&latencies);
            transactions = transaction_bytes = retries = 0;
            broker_cpu = process_cpu_s(pid);
            generator_cpu = own_cpu_s();
            machine_cpu = machine_cpu_s();
            opened = now_ns();
        } else if (opened != 0 && (double)(now - opened) >= window_s * 1e9) {
            break;
        }
    }
    closed = now_ns();
    printf("{\"requests\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"broker_cpu_s\": %.3f, "
           "\"generator_cpu_s\": %.3f, \"machine_cpu_s\": %.3f, \"retries\": %llu, ",
           (unsigned long long)transactions, (unsigned long long)transaction_bytes, (double)(closed - opened) / 1e9,
           process_cpu_s(pid) - broker_cpu, own_cpu_s() - generator_cpu, machine_cpu_s() - machine_cpu,
           (unsigned long long)retries);
    print_latency("latency_us", &latencies);
    printf("}\n");
    return 0;
}
