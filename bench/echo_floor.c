/* The floor for any DNS server on UDP: recvmmsg of up to 64 datagrams, the QR bit set, sendmmsg; see peers.py.
 *     echo_floor PORT      several may have one port; "PORT" is printed when it listens */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, OCTETS = 1232 + 64 };

int main(int count_of_words, char **words)
{
    static unsigned char buffers[BATCH][OCTETS];
    static struct sockaddr_in from[BATCH];
    static struct iovec vectors[BATCH];
    static struct mmsghdr messages[BATCH];
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0), yes = 1;
    own.sin_port = htons((unsigned short)(count_of_words > 1 ? atoi(words[1]) : 0));
    if (setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes) ||
        bind(descriptor, (struct sockaddr *)&own, sizeof own))
        return 1;
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    for (;;) {
        for (int n = 0; n < BATCH; n++) {
            vectors[n] = (struct iovec){buffers[n], OCTETS};
            messages[n].msg_hdr = (struct msghdr){.msg_name = from + n, .msg_namelen = sizeof from[n],
                                                  .msg_iov = vectors + n, .msg_iovlen = 1};
        }
        int count = recvmmsg(descriptor, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int n = 0; n < count; n++) {
            buffers[n][2] |= 0x80;
            vectors[n].iov_len = messages[n].msg_len;
        }
        for (int sent = 0, done; sent < count; sent += done > 0 ? done : 1)
            done = sendmmsg(descriptor, messages + sent, (unsigned)(count - sent), 0);
    }
}
