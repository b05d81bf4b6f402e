// Put in front of every source of a prebuilt addon (NEKIT_PORTABLE). glibc gave these functions new versions when it merged libpthread and
// libdl into libc (2.32, 2.34); the old ones are the same code and are there on older systems too. scripts/prebuild.mjs checks the result.
#pragma once

#include <features.h>

#ifdef __GLIBC__
#if defined(__x86_64__)
#define NEKIT_OLD(symbol, x86, arm) __asm__(".symver " #symbol "," #symbol "@GLIBC_" x86)
#elif defined(__aarch64__)
#define NEKIT_OLD(symbol, x86, arm) __asm__(".symver " #symbol "," #symbol "@GLIBC_" arm)
#endif
#endif

#ifdef NEKIT_OLD
NEKIT_OLD(dlsym, "2.2.5", "2.17");
NEKIT_OLD(pthread_create, "2.2.5", "2.17");
NEKIT_OLD(pthread_join, "2.2.5", "2.17");
NEKIT_OLD(pthread_once, "2.2.5", "2.17");
NEKIT_OLD(pthread_setname_np, "2.12", "2.17");
NEKIT_OLD(pthread_sigmask, "2.2.5", "2.17");
NEKIT_OLD(sem_destroy, "2.2.5", "2.17");
NEKIT_OLD(sem_init, "2.2.5", "2.17");
NEKIT_OLD(sem_post, "2.2.5", "2.17");
NEKIT_OLD(sem_wait, "2.2.5", "2.17");
#undef NEKIT_OLD
#endif
