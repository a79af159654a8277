// Tells the leak sanitizer where leaks of plug-ins come from.
//
// Open MPI unloads its plug-ins before leaks are counted, and a leak of code that is gone has no
// name that could be suppressed. In programs with the address sanitizer nothing is ever unloaded.

extern "C" int dlclose(void* /*library*/) {
  return 0;
}
