// Multiply-add: independent accumulators in registers, enough of them to cover latency times ports;
// 2 flops each. Copy: each thread copies its own block; bytes are counted as the useful traffic,
// once read and once written. Instruction sets are chosen at run time, so the compiler's baseline
// flags suffice.
#include "ceilings.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <new>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace figment {
namespace {

using Clock = std::chrono::steady_clock;

// Keeps a value alive without cost.
template <typename T>
inline void keep(T& value) {
  asm volatile("" : "+m"(value) : : "memory");
}

// Keeps a value in its register without the compiler knowing what it is, so that no round of a
// burst can be left out.
#if defined(__x86_64__)
#define FIGMENT_OPAQUE(value) asm volatile("" : "+v"(value))
#elif defined(__aarch64__)
#define FIGMENT_OPAQUE(value) asm volatile("" : "+w"(value))
#else
#define FIGMENT_OPAQUE(value) asm volatile("" : "+m"(value))
#endif

// One burst: kSteps rounds over all accumulators. Returns the flops done.
constexpr int kSteps = 20000;

#if defined(__x86_64__)
// 10 accumulators: 4 cycles of latency on 2 ports, and the loop stays in registers.
constexpr int kAccumulators = 10;

__attribute__((target("avx512f"))) double fmaAvx512() {
  __m512 sum[kAccumulators];
  for (auto& s : sum) s = _mm512_set1_ps(1.0f);
  const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
    for (auto& s : sum) {
      s = _mm512_fmadd_ps(s, a, b);
      FIGMENT_OPAQUE(s);
    }
  }
  return 2.0 * 16 * kAccumulators * kSteps;
}

__attribute__((target("avx2,fma"))) double fmaAvx2() {
  __m256 sum[kAccumulators];
  for (auto& s : sum) s = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
    for (auto& s : sum) {
      s = _mm256_fmadd_ps(s, a, b);
      FIGMENT_OPAQUE(s);
    }
  }
  return 2.0 * 8 * kAccumulators * kSteps;
}

// SSE2 has no fused form: a multiply and an add.
double fmaGeneric() {
  __m128 sum[kAccumulators];
  for (auto& s : sum) s = _mm_set1_ps(1.0f);
  const __m128 a = _mm_set1_ps(0.999f), b = _mm_set1_ps(0.001f);
  for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
    for (auto& s : sum) {
      s = _mm_add_ps(_mm_mul_ps(s, a), b);
      FIGMENT_OPAQUE(s);
    }
  }
  return 2.0 * 4 * kAccumulators * kSteps;
}

__attribute__((target("avx2"))) void copyStreaming(float* to, const float* from, size_t count) {
  for (size_t i = 0; i < count; i += 8) _mm256_stream_ps(to + i, _mm256_load_ps(from + i));
  _mm_sfence();
}
#elif defined(__aarch64__)
// 16 accumulators: 4 cycles of latency on up to 4 ports.
constexpr int kAccumulators = 16;

double fmaGeneric() {
  float32x4_t sum[kAccumulators];
  for (auto& s : sum) s = vdupq_n_f32(1.0f);
  const float32x4_t a = vdupq_n_f32(0.999f), b = vdupq_n_f32(0.001f);
  for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 16
    for (auto& s : sum) {
      s = vfmaq_f32(b, s, a);
      FIGMENT_OPAQUE(s);
    }
  }
  return 2.0 * 4 * kAccumulators * kSteps;
}
#else
double fmaGeneric() {
  float sum[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  for (int step = 0; step < kSteps; ++step) {
    for (auto& s : sum) {
      s = s * 0.999f + 0.001f;
      FIGMENT_OPAQUE(s);
    }
  }
  return 2.0 * 8 * kSteps;
}
#endif

void copyCached(float* to, const float* from, size_t count) {
  std::memcpy(to, from, count * sizeof(float));
}

// Runs `work(thread)` on all threads at once, `rounds` times; returns the shortest seconds that one
// round took.
double shortest(int threads, int rounds, const std::function<void(int)>& work) {
  std::mutex mutex;
  std::condition_variable change;
  int generation = 0, finished = 0;
  auto worker = [&](int thread) {
    for (int round = 1; round <= rounds; ++round) {
      {
        std::unique_lock lock(mutex);
        change.wait(lock, [&] { return generation >= round; });
      }
      work(thread);
      std::lock_guard lock(mutex);
      ++finished;
      change.notify_all();
    }
  };
  std::vector<std::thread> pool;
  for (int thread = 1; thread < threads; ++thread) pool.emplace_back(worker, thread);
  double best = 1e30;
  for (int round = 1; round <= rounds; ++round) {
    {
      std::lock_guard lock(mutex);
      finished = 0;
      generation = round;
      change.notify_all();
    }
    const auto start = Clock::now();
    work(0);
    {
      std::unique_lock lock(mutex);
      change.wait(lock, [&] { return finished == threads - 1; });
    }
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  for (auto& thread : pool) thread.join();
  return best;
}

double fmaGflops(int threads, double (*burst)()) {
  constexpr int kBursts = 20, kRounds = 25;
  double flops = 0;
  const double seconds = shortest(threads, kRounds, [&](int thread) {
    double done = 0;
    for (int i = 0; i < kBursts; ++i) done += burst();
    if (thread == 0) flops = done;
  });
  return flops * threads / seconds / 1e9;
}

// Copy bandwidth with `bytes` of source and target together, over all threads.
double copyGbps(int threads, size_t bytes, void (*copy)(float*, const float*, size_t)) {
  constexpr size_t kAlign = 64, kRoundBytes = size_t{64} << 20;
  const size_t perThread = std::max<size_t>(bytes / 2 / threads / kAlign * kAlign, kAlign);
  const size_t count = perThread / sizeof(float);
  const int repeats =
      static_cast<int>(std::max<size_t>(kRoundBytes / (2 * perThread * threads), 1));
  std::vector<float*> from(threads), to(threads);
  for (int t = 0; t < threads; ++t) {
    from[t] = new (std::align_val_t{kAlign}) float[count];
    to[t] = new (std::align_val_t{kAlign}) float[count];
    std::memset(from[t], 1, perThread);
    std::memset(to[t], 0, perThread);
  }
  const int rounds = bytes > kRoundBytes ? 4 : 8;
  const double seconds = shortest(threads, rounds, [&](int t) {
    for (int i = 0; i < repeats; ++i) {
      copy(to[t], from[t], count);
      keep(to[t]);
    }
  });
  for (int t = 0; t < threads; ++t) {
    ::operator delete[](from[t], std::align_val_t{kAlign});
    ::operator delete[](to[t], std::align_val_t{kAlign});
  }
  return 2.0 * perThread * threads * repeats / seconds / 1e9;
}

}  // namespace

Ceilings measureCeilings(int threads) {
  std::vector<std::pair<const char*, double (*)()>> bursts{{"generic", fmaGeneric}};
  std::vector<void (*)(float*, const float*, size_t)> copies{copyCached};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    bursts.push_back({"avx2", fmaAvx2});
    copies.push_back(copyStreaming);
  }
  if (__builtin_cpu_supports("avx512f")) bursts.push_back({"avx512", fmaAvx512});
#endif
  Ceilings ceilings = {threads, {}, {}};
  for (const auto& [name, burst] : bursts)
    ceilings.fma.push_back({name, fmaGflops(threads, burst)});
  for (const size_t bytes :
       {size_t{256} << 10, size_t{4} << 20, size_t{32} << 20, size_t{256} << 20}) {
    double best = 0;
    for (const auto copy : copies) best = std::max(best, copyGbps(threads, bytes, copy));
    ceilings.copy.push_back({bytes, best});
  }
  return ceilings;
}

}  // namespace figment
