// Reads /proc, /sys and the control group; every source is optional and narrows the answer.
#include "machine.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace figment {
namespace {

#if defined(__linux__)

std::string firstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The cgroup-v2 folder of this process, without a trailing slash.
std::string controlGroup() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("0::", 0) == 0) {
      const std::string path = line.substr(3);
      return "/sys/fs/cgroup" + (path == "/" ? std::string() : path);
    }
  }
  return "/sys/fs/cgroup";
}

/// Cores allowed by "quota period" (v2) or by the pair of v1 files; 0 when unlimited.
double quotaCores() {
  const std::string v2 = firstLine(controlGroup() + "/cpu.max");
  double quota = 0, period = 0;
  if (std::sscanf(v2.c_str(), "%lf %lf", &quota, &period) == 2 && period > 0) return quota / period;
  const std::string v1 = "/sys/fs/cgroup/cpu/";
  if (std::sscanf(firstLine(v1 + "cpu.cfs_quota_us").c_str(), "%lf", &quota) == 1 &&
      std::sscanf(firstLine(v1 + "cpu.cfs_period_us").c_str(), "%lf", &period) == 1 && quota > 0 &&
      period > 0)
    return quota / period;
  return 0;
}

/// Allowed processors, counting hardware threads of one core once.
int allowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 0;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &set)) continue;
    const std::string id = std::to_string(cpu);
    const std::string siblings =
        firstLine("/sys/devices/system/cpu/cpu" + id + "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? id : siblings);
  }
  return int(cores.size());
}

uint64_t groupMemory() {
  unsigned long long bytes = 0;
  const std::string v2 = firstLine(controlGroup() + "/memory.max");
  if (std::sscanf(v2.c_str(), "%llu", &bytes) == 1) return bytes;
  const std::string v1 = firstLine("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  return std::sscanf(v1.c_str(), "%llu", &bytes) == 1 ? bytes : 0;
}

#endif

}  // namespace

int usableCores() {
  int cores = int(std::thread::hardware_concurrency());
#if defined(__linux__)
  if (const int allowed = allowedCores(); allowed > 0) cores = allowed;
  if (const double quota = quotaCores(); quota > 0) cores = std::min(cores, int(std::ceil(quota)));
#endif
  return std::max(1, cores);
}

uint64_t usableMemory() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  uint64_t bytes = pages > 0 && page > 0 ? uint64_t(pages) * uint64_t(page) : 0;
#if defined(__linux__)
  if (const uint64_t limit = groupMemory(); limit > 0 && (bytes == 0 || limit < bytes))
    bytes = limit;
#endif
  return bytes;
}

}  // namespace figment
