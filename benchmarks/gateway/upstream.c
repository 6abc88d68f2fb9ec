/* Measuring instrument: a fast fake upstream. It runs no model; it exists so that nothing but the gateway is measured.
 *
 *   upstream PORT [CHUNKS] [INTERVAL_MS]
 *
 * POST: an OpenAI chat.completion of about 1.0 KB at once; with "stream":true, CHUNKS content chunks, the first at once,
 * then one every INTERVAL_MS, each a write of its own that carries its send time: "content":"t:<ns CLOCK_MONOTONIC> ".
 * GET: a model list. One thread, epoll, keep-alive, pipelining. Prints "ready" once it listens. */
#include "http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BODY_MAX (4 << 20)

struct conn {
  int fd;
  int is_gone, is_last;
  struct http http;
  char *body;
  size_t body_len, body_cap;
  char *out;
  size_t out_len, out_cap;
  /* the running stream, if any */
  int is_streaming, wants_usage, chunks_sent;
  int64_t due_ns;
  struct conn *prev, *next;
  char *held; /* pipelined bytes that came during a stream */
  size_t held_len;
};

static int epoll_fd, timer_fd, chunks_max = 64;
static int64_t interval_ns = 50 * 1000000LL;
static struct conn *first, *last; /* running streams, by due time */
static struct conn *graveyard;    /* closed connections, freed after the event batch */
static char json_answer[4096], models_answer[512];
static size_t json_answer_len, models_answer_len;

#define CHUNK_HEAD "{\"id\":\"chatcmpl-bench-0001\",\"object\":\"chat.completion.chunk\",\"created\":1790000000," \
                   "\"model\":\"fake-1\",\"system_fingerprint\":\"fp_bench\","
#define STREAM_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n" \
                    "Transfer-Encoding: chunked\r\n\r\n"

static void unlink_stream(struct conn *c) {
  if (!c->is_streaming) return;
  if (c->prev) c->prev->next = c->next; else first = c->next;
  if (c->next) c->next->prev = c->prev; else last = c->prev;
  c->is_streaming = 0;
}

/* All streams share one interval, so the place is at or near the end. */
static void link_stream(struct conn *c) {
  struct conn *after = last;
  while (after && after->due_ns > c->due_ns) after = after->prev;
  c->prev = after;
  c->next = after ? after->next : first;
  if (c->next) c->next->prev = c; else last = c;
  if (after) after->next = c; else first = c;
  c->is_streaming = 1;
}

static void close_conn(struct conn *c) {
  if (c->is_gone) return;
  unlink_stream(c);
  close(c->fd);
  c->is_gone = 1;
  c->next = graveyard;
  graveyard = c;
}

static void bury(void) {
  while (graveyard) {
    struct conn *c = graveyard;
    graveyard = c->next;
    free(c->body);
    free(c->out);
    free(c->held);
    free(c);
  }
}

static void watch(struct conn *c, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void send_all(struct conn *c, const char *p, size_t n) {
  ssize_t sent = 0;
  if (c->is_gone) return;
  if (c->out_len == 0) {
    sent = send(c->fd, p, n, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      close_conn(c);
      return;
    }
    if (sent < 0) sent = 0;
  }
  if ((size_t)sent == n) return;
  size_t rest = n - (size_t)sent;
  if (c->out_len + rest > c->out_cap) {
    c->out_cap = (c->out_len + rest) * 2;
    c->out = realloc(c->out, c->out_cap);
  }
  memcpy(c->out + c->out_len, p + sent, rest);
  c->out_len += rest;
  watch(c, EPOLLIN | EPOLLOUT);
}

static void flush(struct conn *c) {
  ssize_t sent = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN) close_conn(c);
    return;
  }
  memmove(c->out, c->out + sent, c->out_len - (size_t)sent);
  c->out_len -= (size_t)sent;
  if (c->out_len == 0) watch(c, EPOLLIN);
}

/* Appends one SSE event as one HTTP chunk. Returns the new length. */
static size_t put_event(char *to, size_t at, const char *event) {
  return at + (size_t)sprintf(to + at, "%zx\r\ndata: %s\n\n\r\n", strlen(event) + 8, event);
}

static size_t put_content(char *to, size_t at) {
  char event[512];
  snprintf(event, sizeof event,
           CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"t:%lld \"},\"logprobs\":null,"
                      "\"finish_reason\":null}]}", (long long)now_ns());
  return put_event(to, at, event);
}

static void end_stream(struct conn *c) {
  char text[2048];
  size_t n = put_event(text, 0, CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}");
  if (c->wants_usage) {
    char event[512];
    snprintf(event, sizeof event, CHUNK_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":200,"
             "\"completion_tokens\":%d,\"total_tokens\":%d}}", chunks_max, 200 + chunks_max);
    n = put_event(text, n, event);
  }
  n = put_event(text, n, "[DONE]");
  n += (size_t)sprintf(text + n, "0\r\n\r\n");
  unlink_stream(c);
  send_all(c, text, n);
  if (c->is_last) close_conn(c);
}

static void start_stream(struct conn *c) {
  char text[2048];
  c->wants_usage = memmem(c->body, c->body_len, "\"include_usage\"", 15) != NULL;
  c->chunks_sent = 1;
  c->due_ns = now_ns() + interval_ns;
  link_stream(c);
  size_t n = (size_t)sprintf(text, "%s", STREAM_HEAD);
  n = put_event(text, n, CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                         "\"logprobs\":null,\"finish_reason\":null}]}");
  n = put_content(text, n);
  send_all(c, text, n);
}

/* "stream" : true, with any white space around the colon */
static int wants_stream(struct conn *c) {
  const char *p = memmem(c->body, c->body_len, "\"stream\"", 8), *end = c->body + c->body_len;
  if (!p) return 0;
  p += 8;
  while (p < end && strchr(" \t\r\n:", *p)) p++;
  return end - p >= 4 && memcmp(p, "true", 4) == 0;
}

static void answer(struct conn *c) {
  c->is_last = c->http.is_last;
  if (strcmp(c->http.method, "GET") == 0) send_all(c, models_answer, models_answer_len);
  else if (wants_stream(c)) start_stream(c);
  else send_all(c, json_answer, json_answer_len);
  c->body_len = 0;
  http_reset(&c->http);
  if (c->is_last && !c->is_streaming) close_conn(c);
}

static void on_body(void *ctx, const char *p, size_t n) {
  struct conn *c = ctx;
  if (c->body_len + n > BODY_MAX) return;
  if (c->body_len + n > c->body_cap) {
    c->body_cap = (c->body_len + n) * 2;
    c->body = realloc(c->body, c->body_cap);
  }
  memcpy(c->body + c->body_len, p, n);
  c->body_len += n;
}

/* Requests are answered in order: what comes during a stream waits for its end. */
static void feed(struct conn *c, const char *p, size_t n) {
  while (n && !c->is_gone) {
    size_t used;
    if (c->is_streaming) {
      c->held = realloc(c->held, c->held_len + n);
      memcpy(c->held + c->held_len, p, n);
      c->held_len += n;
      return;
    }
    int result = http_feed(&c->http, p, n, &used);
    if (result < 0) {
      close_conn(c);
      return;
    }
    p += used;
    n -= used;
    if (result) answer(c);
  }
}

static void resume(struct conn *c) {
  char *held = c->held;
  size_t n = c->held_len;
  c->held = NULL;
  c->held_len = 0;
  if (n) feed(c, held, n);
  free(held);
}

static void on_timer(void) {
  uint64_t ticks;
  char text[1024];
  if (read(timer_fd, &ticks, sizeof ticks) < 0 && errno != EAGAIN) die("timer");
  while (first && first->due_ns <= now_ns()) {
    struct conn *c = first;
    unlink_stream(c);
    if (c->chunks_sent == chunks_max) {
      end_stream(c);
      if (!c->is_gone) resume(c);
      continue;
    }
    c->chunks_sent++;
    c->due_ns += interval_ns;
    link_stream(c);
    send_all(c, text, put_content(text, 0));
  }
}

static void arm_timer(void) {
  static int64_t armed_ns;
  int64_t at = first ? first->due_ns : 0;
  if (at == armed_ns && at > now_ns()) return;
  armed_ns = at;
  struct itimerspec t = {.it_value = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000}};
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void on_readable(struct conn *c) {
  static char chunk[65536];
  ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
  if (n > 0) feed(c, chunk, (size_t)n);
  else if (n == 0 || errno != EAGAIN) close_conn(c);
}

static void on_connect(int listener) {
  int fd, on = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    struct conn *c = calloc(1, sizeof *c);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->fd = fd;
    c->http.on_body = on_body;
    c->http.ctx = c;
    http_reset(&c->http);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
  }
}

static void prepare_answers(void) {
  char body[2048];
  int n = snprintf(body, sizeof body,
    "{\"id\":\"chatcmpl-bench-0001\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"fake-1\","
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},"
    "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":200,\"completion_tokens\":150,"
    "\"total_tokens\":350},\"system_fingerprint\":\"fp_bench\"}",
    "The strip where the forest meets the meadow holds more species than either, since plants and animals of both live "
    "there and some live nowhere else. Light reaches the ground from one side, wind is broken by the other, and the soil "
    "keeps the moisture that open ground loses. Birds nest in the trees and feed in the grass; hares do the reverse. "
    "A fence that follows the border exactly makes it poorer on both sides, because what crosses it daily is what keeps "
    "it alive. Where the change is gradual the number of species is highest, and where it is a hard line the number "
    "falls to that of the poorer neighbour. This is an answer of fixed length, made for measuring.");
  json_answer_len = (size_t)snprintf(json_answer, sizeof json_answer,
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n, body);
  n = snprintf(body, sizeof body, "{\"object\":\"list\",\"data\":[{\"id\":\"fake-1\",\"object\":\"model\","
               "\"created\":1790000000,\"owned_by\":\"bench\"}]}");
  models_answer_len = (size_t)snprintf(models_answer, sizeof models_answer,
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n, body);
}

static int open_listener(int port) {
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) die("listen");
  return fd;
}

static void run(int listener) {
  struct epoll_event events[256];
  for (;;) {
    int n = epoll_wait(epoll_fd, events, 256, -1);
    for (int i = 0; i < n; i++) {
      struct conn *c = events[i].data.ptr;
      if (c == NULL) on_connect(listener);
      else if ((void *)c == (void *)&timer_fd) on_timer();
      else {
        if (!c->is_gone && c->out_len && events[i].events & EPOLLOUT) flush(c);
        if (!c->is_gone && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) on_readable(c);
      }
    }
    arm_timer();
    bury();
  }
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: upstream PORT [CHUNKS] [INTERVAL_MS]\n");
    return 2;
  }
  if (argc > 2) chunks_max = atoi(argv[2]);
  if (argc > 3) interval_ns = atoll(argv[3]) * 1000000;
  signal(SIGPIPE, SIG_IGN);
  prepare_process();
  prepare_answers();
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  int listener = open_listener(atoi(argv[1]));
  struct epoll_event on_listener = {.events = EPOLLIN, .data.ptr = NULL};
  struct epoll_event on_timer_fd = {.events = EPOLLIN, .data.ptr = &timer_fd};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &on_listener);
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &on_timer_fd);
  puts("ready");
  fflush(stdout);
  run(listener);
}
