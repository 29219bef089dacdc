/* What getaddrinfo() of the libc that this is linked with says to names, and how long it took.
 *
 *     resolving unspec|inet|inet6 NAME...
 *
 * One line of JSON for each name, asked one after another: {"name", "error", "addresses", "ms"}.
 * "error" is "" or the name of the EAI code.  No flags are set: what is not asked for by AI_ADDRCONFIG
 * is what programs in containers mostly get.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static const char *code(int error)
{
	switch (error) {
	case 0: return "";
	case EAI_NONAME: return "EAI_NONAME";
	case EAI_AGAIN: return "EAI_AGAIN";
	case EAI_FAIL: return "EAI_FAIL";
	case EAI_SYSTEM: return "EAI_SYSTEM";
	case EAI_FAMILY: return "EAI_FAMILY";
	case EAI_MEMORY: return "EAI_MEMORY";
#ifdef EAI_NODATA
	case EAI_NODATA: return "EAI_NODATA";
#endif
#ifdef EAI_ADDRFAMILY
	case EAI_ADDRFAMILY: return "EAI_ADDRFAMILY";
#endif
	}
	return "another error";
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void ask(int family, const char *name)
{
	struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found = NULL;
	char text[INET6_ADDRSTRLEN];
	double start = now_ms();
	int error = getaddrinfo(name, NULL, &hints, &found);
	double took = now_ms() - start;

	printf("{\"name\": \"%s\", \"error\": \"%s\", \"addresses\": [", name, code(error));
	for (struct addrinfo *at = error ? NULL : found; at; at = at->ai_next) {
		const void *address = at->ai_family == AF_INET6
			? (void *)&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr
			: (void *)&((struct sockaddr_in *)at->ai_addr)->sin_addr;
		inet_ntop(at->ai_family, address, text, sizeof text);
		printf("%s\"%s\"", at == found ? "" : ", ", text);
	}
	printf("], \"ms\": %.3f}\n", took);
	fflush(stdout);
	if (!error)
		freeaddrinfo(found);
}

int main(int count, char **words)
{
	int family = AF_UNSPEC;
	if (count < 3) {
		fprintf(stderr, "usage: resolving unspec|inet|inet6 NAME...\n");
		return 2;
	}
	if (!strcmp(words[1], "inet"))
		family = AF_INET;
	else if (!strcmp(words[1], "inet6"))
		family = AF_INET6;
	for (int i = 2; i < count; i++)
		ask(family, words[i]);
	return 0;
}
