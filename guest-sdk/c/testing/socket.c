/* Requests over a plain socket, HTTP/1.0, whose answers end with the connection; and a server to send them to. */
#define _POSIX_C_SOURCE 200809L
#include <wasmill/testing.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/http.h"
#include "../src/sdk.h"

#define BLANK_LINE "\r\n\r\n"

static bool send_all(int peer, wm_text bytes)
{
    for (size_t at = 0; at < bytes.length;) {
        ssize_t sent = send(peer, bytes.data + at, bytes.length - at, MSG_NOSIGNAL);
        if (sent < 0) return false;
        at += (size_t)sent;
    }
    return true;
}

/* ---- Requests ---- */

/* A connection, or -1 after an error. */
static int dial(const wm_outgoing *request)
{
    char *host = (char *)wm_format("%.*s", WM_ARG(request->authority)).data, *colon = strrchr(host, ':');
    const char *port = "80";
    struct addrinfo *found, hints = { .ai_socktype = SOCK_STREAM };
    if (colon != NULL && colon[1] != 0 && colon[1 + strspn(colon + 1, "0123456789")] == 0) {
        *colon = 0;
        port = colon + 1;
    }
    if (*host == '[') {
        host++;
        host[strcspn(host, "]")] = 0;
    }
    int error = getaddrinfo(host, port, &hints, &found), peer = -1;
    if (error != 0) return wm_no_answer(request, wm_text_of(gai_strerror(error))), -1;
    for (const struct addrinfo *address = found; peer < 0 && address != NULL; address = address->ai_next) {
        const struct timeval most = { request->timeout_ms / 1000, request->timeout_ms % 1000 * 1000 };
        peer = socket(address->ai_family, SOCK_STREAM, 0);
        setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
        setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most); /* that of connecting too */
        if (connect(peer, address->ai_addr, address->ai_addrlen) == 0) continue;
        wm_no_answer(request, wm_text_of(strerror(errno)));
        close(peer);
        peer = -1;
    }
    freeaddrinfo(found);
    return peer;
}

/* Takes an answer apart, which ends with a NUL; false if it is none. */
static bool read_answer(char *answer, size_t length, wm_response *response)
{
    char *end = strstr(answer, BLANK_LINE), *line = answer;
    if (end == NULL || sscanf(answer, "HTTP/%*s %hu", &response->status) != 1) return false;
    size_t head = (size_t)(end - answer) + strlen(BLANK_LINE), rest = length - head, count = 0;
    response->body = (wm_bytes){ (const uint8_t *)answer + head, rest < WM_MOST_BODY ? rest : WM_MOST_BODY };
    wm_entry *headers = wm_take(head * sizeof *headers);
    end[2] = 0;
    while ((line = strstr(line, "\r\n") + 2) < end) {
        size_t whole = strcspn(line, "\r"), name = strcspn(line, ":\r"), value = name + 1;
        if (name == whole) continue;
        while (line[value] == ' ') value++;
        headers[count++] = (wm_entry){ { line, name }, { line + value, whole - value } };
    }
    response->headers = (wm_entries){ headers, count };
    return true;
}

bool wm_host_send(const wm_outgoing *request, wm_response *response)
{
    if (request->secure) return wm_fatal("a native test has no TLS: use an address of http://");
    const size_t most = 2 * WM_MOST_BODY;
    char *answer = wm_take(most + 1);
    size_t length = 0;
    ssize_t came = 1;
    wm_text head = wm_format("%s %.*s HTTP/1.0\r\nhost: %.*s", request->method, WM_ARG(request->path), WM_ARG(request->authority));
    for (size_t at = 0; at < request->headers.count; at++) {
        const wm_entry *header = &request->headers.entries[at];
        head = wm_format("%.*s\r\n%.*s: %.*s", WM_ARG(head), WM_ARG(header->name), WM_ARG(header->value));
    }
    head = wm_format("%.*s" BLANK_LINE, WM_ARG(head));
    int peer = dial(request);
    if (peer < 0) return false;
    bool sent = send_all(peer, head) && send_all(peer, (wm_text){ (const char *)request->body.data, request->body.length });
    while (came > 0 && length < most) {
        came = recv(peer, answer + length, most - length, 0);
        if (came > 0) length += (size_t)came;
    }
    wm_text why = wm_text_of(came < 0 ? strerror(errno) : "the answer is not HTTP");
    close(peer);
    answer[length] = 0;
    if (came < 0 || !read_answer(answer, length, response)) return wm_no_answer(request, why);
    return sent || response->status >= 300 || wm_retryable(0, "the request to %.*s broke off", WM_ARG(request->authority));
}

/* ---- A server ---- */

#define MOST_SECONDS 30         /* of its life, if nobody asks as often as it is to answer */

static void serve(int listener, FILE *seen, const char *const *answers)
{
    alarm(MOST_SECONDS);
    for (; *answers != NULL; answers++) {
        int peer = accept(listener, NULL, NULL);
        FILE *request = fdopen(peer, "r");
        char line[4096];
        size_t length = 0;
        while (fgets(line, sizeof line, request) != NULL) {
            fputs(line, seen);
            sscanf(line, "content-length: %zu", &length);
            if (strcmp(line, "\r\n") == 0) break;
        }
        while (length-- > 0) fputc(fgetc(request), seen);
        fputc(0, seen);
        send_all(peer, wm_format("HTTP/1.1 %s%s", *answers, strstr(*answers, BLANK_LINE) == NULL ? BLANK_LINE : ""));
        fclose(request);
    }
    fflush(seen);
}

wm_server *wm_serve(const char *const *answers)
{
    wm_server *server = calloc(1, sizeof *server);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    server->seen = tmpfile();
    wm_expect(WM_HERE, "a server listens", server->seen != NULL && bind(listener, (struct sockaddr *)&address, length) == 0
              && listen(listener, SOMAXCONN) == 0 && getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    snprintf(server->url, sizeof server->url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    server->process = fork();
    if (server->process == 0) {
        serve(listener, server->seen, answers);
        _exit(0);
    }
    close(listener);
    return server;
}

const char *const *wm_requests(wm_server *server)
{
    char **requests = calloc(WM_MOST_ROWS + 1, sizeof *requests);
    size_t room = 0;
    waitpid(server->process, NULL, 0);
    rewind(server->seen);
    for (size_t at = 0; at < WM_MOST_ROWS && getdelim(&requests[at], &room, 0, server->seen) > 0; at++) room = 0;
    return (const char *const *)requests;
}
