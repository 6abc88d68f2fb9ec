/* Measuring instrument: the load generator. One thread, epoll; prints one JSON object.
 *
 *   load closed  -p PORT -c CONNECTIONS -t SECONDS            as fast as the answers come
 *   load open    -p PORT -r RATE -t SECONDS [-c MAX]          at a fixed rate; latency counts from the intended time
 *   load streams -p PORT -s STREAMS -w RAMP_S                 one new connection per stream, started evenly
 *   all:         -k KEY (Authorization: Bearer) -m MODEL -l LIMIT_S (give up after) */
#include "http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum mode { CLOSED, OPEN, STREAMS };

struct samples {
  double *us;
  size_t n, cap;
};

struct conn {
  int fd;
  int is_busy, is_unsent, has_token, is_done, has_error;
  int64_t intended_ns, sent_ns;
  size_t body_len;
  struct http http;
  char line[4096]; /* the SSE line that is being read */
  size_t line_len;
};

static enum mode mode;
static int port, conns_max = 64, streams = 100;
static double seconds = 2, rate = 50, ramp_s = 1, limit_s = 30;
static const char *key = "", *model = "assistant";

static int epoll_fd, timer_fd, errors_in_a_row;
static struct conn **conns;   /* all that were ever opened */
static struct conn **idle;    /* open mode: connections that wait, last used on top */
static int conns_n, idle_n;
static struct samples latency, ttft, age;
static long completed, errors, started, chunks, streams_done, streams_ended;
static long statuses[600];
static int64_t start_ns, end_ns, last_ns;
static char request[8192];
static size_t request_len;

static void add_sample(struct samples *s, int64_t ns) {
  if (s->n == s->cap) s->us = realloc(s->us, (s->cap = s->cap ? s->cap * 2 : 4096) * sizeof *s->us);
  s->us[s->n++] = (double)ns / 1000;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double at_quantile(struct samples *s, double q) {
  return s->us[(size_t)(q * (double)(s->n - 1) + 0.5)];
}

static void print_samples(const char *name, struct samples *s) {
  if (!s->n) {
    printf(",\"%s\":null", name);
    return;
  }
  qsort(s->us, s->n, sizeof *s->us, compare);
  printf(",\"%s\":{\"n\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, s->n, at_quantile(s, 0.5),
         at_quantile(s, 0.9), at_quantile(s, 0.99), s->us[s->n - 1]);
}

static void prepare_request(void) {
  char body[4096];
  int n = snprintf(body, sizeof body,
    "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are the assistant of a nature reserve. Answer "
    "briefly, in plain words, and say so when you are not sure. Use the notes of the wardens where they help, name the "
    "season that a remark belongs to, and never invent a species. Prefer one good example to a list of five.\"},"
    "{\"role\":\"user\",\"content\":\"The wardens write: the hedge along the northern meadow was cut in March, the pond "
    "was low until May, and since June more birds than last year have been seen where the two meet. Dragonflies came "
    "back in July; the reed has grown by a third. Two paths were closed for the breeding season and opened again in "
    "August, and visitors asked why so often that a sign was put up. The school came twice, counted butterflies along "
    "the border for an hour each time, and found nine kinds where the field itself has four.\"},{\"role\":\"user\",\"content\":\"Why do more "
    "species live where the forest meets the meadow than in either of them, and what should we tell the visitors about "
    "the closed paths in two sentences?\"}],\"temperature\":0.2,\"max_tokens\":256%s}",
    model, mode == STREAMS ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");
  request_len = (size_t)snprintf(request, sizeof request,
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
    "Content-Type: application/json\r\nAccept: */*\r\nUser-Agent: ecotone-bench\r\nContent-Length: %d\r\n\r\n%s",
    port, key, n, body);
}

static void on_sse_line(struct conn *c) {
  if (strncmp(c->line, "data:", 5) != 0) return;
  const char *stamp = strstr(c->line, "\"t:");
  if (stamp) {
    int64_t now = now_ns();
    add_sample(&age, now - atoll(stamp + 3));
    if (!c->has_token) add_sample(&ttft, now - c->sent_ns);
    c->has_token = 1;
    chunks++;
  } else if (strstr(c->line, "[DONE]")) {
    c->is_done = 1;
  } else if (strstr(c->line, "\"error\"")) {
    c->has_error = 1;
  }
}

static void on_body(void *ctx, const char *p, size_t n) {
  struct conn *c = ctx;
  c->body_len += n;
  if (mode != STREAMS) return;
  for (size_t i = 0; i < n; i++) {
    if (p[i] != '\n') {
      if (c->line_len < sizeof c->line - 1) c->line[c->line_len++] = p[i];
      continue;
    }
    c->line[c->line_len] = 0;
    on_sse_line(c);
    c->line_len = 0;
  }
}

static void close_conn(struct conn *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
}

static void watch(struct conn *c, int op, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(epoll_fd, op, c->fd, &e);
}

static int connect_to_gateway(struct conn *c) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) die("socket");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(c->fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) {
    close_conn(c);
    return -1;
  }
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
  return 0;
}

static void send_request(struct conn *c);

/* The request has ended, well or badly. */
static void finish(struct conn *c, int is_good) {
  int64_t now = now_ns();
  c->is_busy = 0;
  last_ns = now;
  if (c->http.status >= 100 && c->http.status < 600) statuses[c->http.status]++;
  if (is_good) {
    completed++;
    errors_in_a_row = 0;
    add_sample(&latency, now - c->intended_ns);
  } else {
    errors++;
    errors_in_a_row++;
  }
  if (mode == STREAMS) {
    streams_ended++;
    streams_done += is_good && c->is_done && !c->has_error;
    close_conn(c);
    return;
  }
  if (!is_good || c->http.is_last) close_conn(c);
  if (mode == OPEN) {
    idle[idle_n++] = c;
  } else if (now < end_ns && errors_in_a_row < 100) {
    c->intended_ns = now_ns();
    send_request(c);
  }
}

static void send_request(struct conn *c) {
  c->is_busy = 1;
  http_reset(&c->http);
  c->body_len = 0;
  if (c->fd < 0 && connect_to_gateway(c)) {
    finish(c, 0);
    return;
  }
  c->sent_ns = now_ns();
  ssize_t n = send(c->fd, request, request_len, MSG_NOSIGNAL);
  if (n == (ssize_t)request_len) {
    if (c->is_unsent) watch(c, EPOLL_CTL_MOD, EPOLLIN);
    c->is_unsent = 0;
  } else if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) { /* still connecting */
    c->is_unsent = 1;
    watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
  } else {
    close_conn(c);
    finish(c, 0);
  }
}

static struct conn *new_conn(void) {
  struct conn *c = calloc(1, sizeof *c);
  c->fd = -1;
  c->http.is_response = 1;
  c->http.on_body = on_body;
  c->http.ctx = c;
  conns[conns_n++] = c;
  return c;
}

static void on_end_of_input(struct conn *c) {
  int is_whole = c->http.state == BODY_UNTIL_CLOSE;
  close_conn(c);
  if (c->is_busy) finish(c, is_whole && c->http.status == 200);
}

static void on_readable(struct conn *c) {
  static char chunk[262144];
  size_t used;
  ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
  if (n <= 0) {
    if (n == 0 || errno != EAGAIN) on_end_of_input(c);
    return;
  }
  if (!c->is_busy) return;
  int result = http_feed(&c->http, chunk, (size_t)n, &used);
  if (result) finish(c, result == 1 && c->http.status == 200 && c->body_len > 0);
}

/* Open mode and streams: starts all that is due. Returns when the next one is due, or 0. */
static int64_t start_due(void) {
  long total = mode == OPEN ? (long)(rate * seconds) : streams;
  double gap_ns = mode == OPEN ? 1e9 / rate : ramp_s * 1e9 / streams;
  while (started < total) {
    int64_t intended = start_ns + (int64_t)(gap_ns * (double)started);
    if (intended > now_ns()) return intended;
    struct conn *c = NULL;
    if (mode == OPEN && idle_n) c = idle[--idle_n];
    else if (conns_n < conns_max) c = new_conn();
    if (!c) return 0; /* all connections are busy: the one that gets free takes it */
    started++;
    c->intended_ns = intended;
    send_request(c);
  }
  return 0;
}

static int is_over(void) {
  int64_t now = now_ns();
  if (now > start_ns + (int64_t)(limit_s * 1e9) || errors_in_a_row >= 100) return 1;
  if (mode == CLOSED) {
    if (now < end_ns) return 0;
    for (int i = 0; i < conns_n; i++) if (conns[i]->is_busy) return 0;
    return 1;
  }
  if (mode == STREAMS) return streams_ended >= streams;
  return completed + errors >= (long)(rate * seconds);
}

static void arm_timer(int64_t at) {
  struct itimerspec t = {.it_value = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void on_event(struct epoll_event *e) {
  struct conn *c = e->data.ptr;
  uint64_t ticks;
  if (c == NULL) {
    if (read(timer_fd, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timer");
    return;
  }
  if (c->fd < 0) return;
  if (c->is_unsent && e->events & EPOLLOUT) send_request(c);
  else if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
}

static void run(void) {
  struct epoll_event events[256];
  start_ns = last_ns = now_ns();
  end_ns = start_ns + (int64_t)(seconds * 1e9);
  for (int i = 0; mode == CLOSED && i < conns_max; i++) {
    struct conn *c = new_conn();
    c->intended_ns = now_ns();
    send_request(c);
  }
  while (!is_over()) {
    if (mode != CLOSED) {
      int64_t at = start_due();
      if (at) arm_timer(at);
    }
    int n = epoll_wait(epoll_fd, events, 256, 100);
    for (int i = 0; i < n; i++) on_event(&events[i]);
  }
}

static void print_result(void) {
  double took = (double)(last_ns - start_ns) / 1e9;
  const char *comma = "";
  long unfinished = started > completed + errors ? started - completed - errors : 0;
  printf("{\"completed\":%ld,\"errors\":%ld,\"unfinished\":%ld,\"seconds\":%.4f,\"rps\":%.1f,\"statuses\":{", completed,
         errors, unfinished, took, took > 0 ? (double)completed / took : 0.0);
  for (int i = 100; i < 600; i++) {
    if (!statuses[i]) continue;
    printf("%s\"%d\":%ld", comma, i, statuses[i]);
    comma = ",";
  }
  printf("},\"request_bytes\":%zu", request_len);
  print_samples("latency_us", &latency);
  if (mode == STREAMS) {
    printf(",\"streams\":%d,\"streams_done\":%ld,\"chunks\":%ld", streams, streams_done, chunks);
    print_samples("ttft_us", &ttft);
    print_samples("age_us", &age);
  }
  puts("}");
}

static void read_options(int argc, char **argv) {
  int o;
  while ((o = getopt(argc, argv, "p:c:t:r:s:w:k:m:l:")) != -1) {
    switch (o) {
      case 'p': port = atoi(optarg); break;
      case 'c': conns_max = atoi(optarg); break;
      case 't': seconds = atof(optarg); break;
      case 'r': rate = atof(optarg); break;
      case 's': streams = atoi(optarg); break;
      case 'w': ramp_s = atof(optarg); break;
      case 'k': key = optarg; break;
      case 'm': model = optarg; break;
      case 'l': limit_s = atof(optarg); break;
      default: exit(2);
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: load closed|open|streams -p PORT ...\n");
    return 2;
  }
  mode = !strcmp(argv[1], "closed") ? CLOSED : !strcmp(argv[1], "open") ? OPEN : STREAMS;
  read_options(argc - 1, argv + 1);
  if (mode == STREAMS) conns_max = streams;
  signal(SIGPIPE, SIG_IGN);
  prepare_process();
  prepare_request();
  conns = calloc((size_t)conns_max + 1, sizeof *conns);
  idle = calloc((size_t)conns_max + 1, sizeof *idle);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct epoll_event on_timer_fd = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &on_timer_fd);
  run();
  print_result();
  return 0;
}
