/* Binds in every way that a program can. `binds COMMAND ARGUMENTS...` says how it fared, in a line. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in at(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Opens, binds, listens and closes; 0, or the error. */
static int once(int port)
{
    struct sockaddr_in address = at(port);
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = sock < 0 || bind(sock, (void *)&address, sizeof address) || listen(sock, 8) ? errno : 0;
    close(sock);
    return failed;
}

static int many(int first, int count)
{
    int failed = 0;
    for (int i = 0; i < count; i++) {
        int error = once(first + i % 1000);
        if (error && !failed++)
            fprintf(stderr, "bind %d: %s\n", i, strerror(error));
    }
    return failed;
}

static int storm(int count)
{
    puts("begun");
    fflush(stdout);
    printf("%d failed\n", many(20000, count));
    return 0;
}

static void *thread(void *number)
{
    return (void *)(intptr_t)many(20000 + 1000 * (int)(intptr_t)number, 500);
}

static int threads(int count)
{
    pthread_t made[64];
    intptr_t failed = 0;
    for (intptr_t i = 0; i < count; i++)
        pthread_create(&made[i], NULL, thread, (void *)i);
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(made[i], &result);
        failed += (intptr_t)result;
    }
    printf("%ld failed\n", (long)failed);
    return 0;
}

static void nothing(int signal)
{
    (void)signal;
}

/* A signal each 100 us, whose handler has interrupted calls begin again. */
static int signals(int count)
{
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 100}, {0, 100}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    printf("%d failed\n", many(20000, count));
    return 0;
}

/* The calls of a 32-bit program: directly, and by socketcall. */
static long old_call(long number, long first, long second, long third)
{
#if defined __x86_64__
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
#else
    (void)number, (void)first, (void)second, (void)third;
    return -ENOSYS;
#endif
}

static int old_calls(int port)
{
    uint32_t *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    struct sockaddr_in *address = (void *)(low + 16);
    int direct = socket(AF_INET, SOCK_STREAM, 0), indirect = socket(AF_INET, SOCK_STREAM, 0);
    *address = at(port);
    long bound = old_call(361, direct, (intptr_t)address, sizeof *address);
    long listening = old_call(363, direct, 8, 0);
    address->sin_port = htons(port + 1);
    low[0] = indirect, low[1] = (intptr_t)address, low[2] = sizeof *address;
    long bound_too = old_call(102, 2, (intptr_t)low, 0);
    low[1] = 8;
    long listening_too = old_call(102, 4, (intptr_t)low, 0);
    address->sin_port = htons(port);
    long refused = old_call(361, socket(AF_INET, SOCK_STREAM, 0), (intptr_t)address, sizeof *address);
    printf("results: %ld %ld %ld %ld %ld\n", bound, listening, bound_too, listening_too, refused);
    fflush(stdout);
    pause();
    return 0;
}

/* Binds and listens through io_uring, which no filter sees. */
static int uring(int port)
{
    struct io_uring_params params = {0};
    int ring = syscall(SYS_io_uring_setup, 4, &params);
    if (ring < 0) {
        printf("skipped: io_uring: %s\n", strerror(errno));
        return 0;
    }
    size_t size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
    char *queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    size_t results = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    char *done = mmap(NULL, results, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *entries =
        mmap(NULL, params.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    struct io_uring_cqe *answers = (void *)(done + params.cq_off.cqes);
    struct sockaddr_in address = at(port);
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    for (int step = 0; step < 2; step++) {
        memset(&entries[step], 0, sizeof *entries);
        entries[step].opcode = 56 + step; /* IORING_OP_BIND, IORING_OP_LISTEN */
        entries[step].fd = sock;
        entries[step].addr = step ? 0 : (uintptr_t)&address;
        entries[step].off = step ? 0 : sizeof address;
        entries[step].len = step ? 8 : 0;
        ((uint32_t *)(queue + params.sq_off.array))[step] = step;
        ++*(volatile uint32_t *)(queue + params.sq_off.tail);
        if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1 || answers[step].res) {
            printf("skipped: io_uring does not bind: %s\n", strerror(-answers[step].res));
            return 0;
        }
    }
    puts("listens");
    fflush(stdout);
    pause();
    return 0;
}

static void *for_ever(void *unused)
{
    while (!many(20000, 1000))
        ;
    return unused;
}

/* A thread binds all the time; meanwhile the program becomes itself again, so many times. */
static int becomes(int count)
{
    pthread_t thread;
    char left[16];
    if (!count) {
        printf("%d failed\n", many(20000, 1000));
        return 0;
    }
    pthread_create(&thread, NULL, for_ever, NULL);
    usleep(count * 37 % 1000);
    snprintf(left, sizeof left, "%d", count - 1);
    execl("/proc/self/exe", "binds", "becomes", left, NULL);
    return 1;
}

/* Has a filter with a listener, as some containers' runtimes do, and becomes the program that is named. */
static int watched(char **command)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffff, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
    /* It has one as long as this is open. */
    if (listener < 0 || dup(listener) < 0) {
        printf("skipped: seccomp: %s\n", strerror(errno));
        return 0;
    }
    execvp(*command, command);
    return 1;
}

int main(int count, char **words)
{
    int number = count > 2 ? atoi(words[2]) : 0;
    if (count > 2 && !strcmp(words[1], "watched"))
        return watched(words + 2);
    struct {
        const char *name;
        int (*command)(int);
    } commands[] = {{"storm", storm},         {"threads", threads}, {"signals", signals},
                    {"old-calls", old_calls}, {"uring", uring},     {"becomes", becomes}};
    for (size_t i = 0; count > 1 && i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(words[1], commands[i].name))
            return commands[i].command(number);
    return 2;
}
