/* The part of HTTP/1.1 that both measuring instruments share: an incremental reader of requests and responses.
 * Bodies by Content-Length, chunked, or (responses only) up to the end of the connection. Trusts loopback: it is a
 * measuring instrument, not a server. */
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

enum http_state { START_LINE, HEADER, BODY_LENGTH, BODY_UNTIL_CLOSE, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct http {
  enum http_state state;
  int is_response;
  int status;             /* responses */
  char method[8];         /* requests */
  char path[128];
  int is_chunked;
  int is_last;            /* Connection: close */
  long left;              /* bytes left of the body or chunk; -1 unknown */
  size_t line_len;
  char line[4096];
  void (*on_body)(void *ctx, const char *data, size_t n);
  void *ctx;
};

static inline int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void http_reset(struct http *h) {
  h->state = START_LINE;
  h->status = 0;
  h->is_chunked = h->is_last = 0;
  h->left = -1;
  h->line_len = 0;
}

static inline void http_header(struct http *h) {
  if (strncasecmp(h->line, "content-length:", 15) == 0) h->left = atol(h->line + 15);
  else if (strncasecmp(h->line, "transfer-encoding:", 18) == 0) h->is_chunked = strcasestr(h->line, "chunked") != NULL;
  else if (strncasecmp(h->line, "connection:", 11) == 0) h->is_last = strcasestr(h->line, "close") != NULL;
}

/* The head is complete: says how the body is delimited. Returns 1 if there is no body. */
static inline int http_head_end(struct http *h) {
  if (h->is_response && h->status / 100 == 1) {
    http_reset(h);
    return 0;
  }
  if (h->is_chunked) {
    h->state = CHUNK_SIZE;
    return 0;
  }
  if (h->left < 0 && h->is_response) {
    h->state = BODY_UNTIL_CLOSE;
    return 0;
  }
  h->state = BODY_LENGTH;
  return h->left <= 0;
}

static inline int http_start_line(struct http *h) {
  if (h->line_len == 0) return 0; /* RFC 9112 2.2: ignore an empty line before the request line */
  if (h->is_response) {
    if (sscanf(h->line, "HTTP/1.%*d %d", &h->status) != 1) return -1;
  } else if (sscanf(h->line, "%7s %127s", h->method, h->path) != 2) {
    return -1;
  }
  h->state = HEADER;
  return 0;
}

/* One full line. Returns 1 message complete, 0 go on, -1 not HTTP. */
static inline int http_on_line(struct http *h) {
  switch (h->state) {
    case START_LINE: return http_start_line(h);
    case HEADER:
      if (h->line_len == 0) return http_head_end(h);
      http_header(h);
      return 0;
    case CHUNK_SIZE:
      h->left = strtol(h->line, NULL, 16);
      h->state = h->left == 0 ? TRAILER : CHUNK_DATA;
      return 0;
    case CHUNK_END: h->state = CHUNK_SIZE; return 0;
    case TRAILER: return h->line_len == 0;
    default: return -1;
  }
}

static inline size_t http_take_body(struct http *h, const char *p, size_t n) {
  size_t take = n;
  if (h->state != BODY_UNTIL_CLOSE && (size_t)h->left < n) take = (size_t)h->left;
  h->on_body(h->ctx, p, take);
  if (h->state != BODY_UNTIL_CLOSE) h->left -= (long)take;
  return take;
}

static inline size_t http_take_line(struct http *h, const char *p, size_t n, int *is_full) {
  const char *end = memchr(p, '\n', n);
  size_t take = end ? (size_t)(end - p) + 1 : n;
  size_t room = sizeof h->line - 1 - h->line_len;
  size_t copy = take < room ? take : room;
  memcpy(h->line + h->line_len, p, copy);
  h->line_len += copy;
  *is_full = end != NULL;
  if (end) {
    while (h->line_len && (h->line[h->line_len - 1] == '\n' || h->line[h->line_len - 1] == '\r')) h->line_len--;
    h->line[h->line_len] = 0;
  }
  return take;
}

/* Reads from p; `used` says how far. Returns 1 message complete (call http_reset), 0 wants more, -1 not HTTP. */
static inline int http_feed(struct http *h, const char *p, size_t n, size_t *used) {
  *used = 0;
  while (*used < n) {
    if (h->state == BODY_LENGTH || h->state == BODY_UNTIL_CLOSE || h->state == CHUNK_DATA) {
      *used += http_take_body(h, p + *used, n - *used);
      if (h->left == 0 && h->state == BODY_LENGTH) return 1;
      if (h->left == 0 && h->state == CHUNK_DATA) h->state = CHUNK_END;
      continue;
    }
    int is_full, result;
    *used += http_take_line(h, p + *used, n - *used, &is_full);
    if (!is_full) return 0;
    result = http_on_line(h);
    h->line_len = 0;
    if (result) return result;
  }
  return 0;
}

/* Room for thousands of sockets, and timers that fire when they say. */
static inline void prepare_process(void) {
  struct rlimit r;
  getrlimit(RLIMIT_NOFILE, &r);
  r.rlim_cur = r.rlim_max;
  setrlimit(RLIMIT_NOFILE, &r);
  prctl(PR_SET_TIMERSLACK, 1000);
}

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

#endif
