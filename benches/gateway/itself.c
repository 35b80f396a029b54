/* Under valgrind /proc/self/exe is valgrind. Loaded before the C library, this starts the program in ITSELF instead
 * wherever that path is to be run: the gateway puts a process of its own above each child. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *itself;

__attribute__((constructor)) static void remember(void) {
  const char *path = getenv("ITSELF");
  if (path) itself = strdup(path);
}

static const char *meant(const char *path) {
  return itself && strcmp(path, "/proc/self/exe") == 0 ? itself : path;
}

int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const words[], char *const env[]) {
  typeof(&posix_spawnp) next = (typeof(&posix_spawnp))dlsym(RTLD_NEXT, "posix_spawnp");
  return next(pid, meant(path), actions, attributes, words, env);
}

int execvp(const char *path, char *const words[]) {
  typeof(&execvp) next = (typeof(&execvp))dlsym(RTLD_NEXT, "execvp");
  return next(meant(path), words);
}
