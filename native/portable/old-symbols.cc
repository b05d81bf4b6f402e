// What newer compilers use and glibc 2.31 and the libstdc++ of GCC 10 have not. Only in prebuilt addons (NEKIT_PORTABLE).
#include <new>

#define HIDDEN __attribute__((visibility("hidden")))

/** shared_ptr asks whether it may do without atomics (glibc 2.32). Never. */
extern "C" {
HIDDEN char __libc_single_threaded = 0;
}

namespace std {

/** Called for `new T[n]` (GCC 11). */
[[noreturn]] HIDDEN void __throw_bad_array_new_length() { throw bad_array_new_length(); }

}  // namespace std
