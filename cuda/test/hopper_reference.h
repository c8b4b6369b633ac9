// What hopper_check compares with: sums in f64, one thread for a result, of all results where they
// are few and of a random choice where they are many.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <vector>

#include "device/number.h"
#include "kernels/gemm/activation.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/kernel.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/matmul.generated.h"
#include "runtime/check.h"

namespace figment::cuda {

enum class Kind { product, forward, inputGrad, weightGrad };

struct Reference {
  Kind kind = Kind::product;
  MatmulParams matmul = {};
  Conv2dParams conv = {};  ///< all three convolutions have its geometry
};
struct Comparison {
  double worst = 0;     ///< error over its bound
  double relative = 0;  ///< error over the largest result
  uint64_t hash = 0;    ///< of all bits of the result
};

namespace reference {

struct View {
  const void* data;
  Format format;
  __device__ double operator[](int64_t i) const {
    switch (format) {
      case Format::f32:
        return static_cast<const float*>(data)[i];
      case Format::bf16:
        return widen(static_cast<const Bf16*>(data)[i]);
      default:
        return widen(static_cast<const F16*>(data)[i]);
    }
  }
};

__host__ __device__ inline uint32_t mixed(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x7fb5d329728ea185ull;
  x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44dull;
  return uint32_t(x >> 32);
}

__global__ void fill(void* data, Format format, int64_t count, uint32_t seed, float scale) {
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += int64_t(gridDim.x) * blockDim.x) {
    const float x = (float(mixed(uint64_t(i) * 64 + seed)) / 4294967296.0f * 2 - 1) * scale;
    if (format == Format::f32) static_cast<float*>(data)[i] = x;
    if (format == Format::bf16) static_cast<Bf16*>(data)[i] = narrow<Bf16>(x);
    if (format == Format::f16) static_cast<F16*>(data)[i] = narrow<F16>(x);
  }
}

struct Sum {
  double value = 0, terms = 0;
  __device__ void add(double x) {
    value += x;
    terms += x < 0 ? -x : x;
  }
};

__device__ inline Sum sumOf(const Reference& r, View a, View b, int64_t e) {
  Sum sum;
  if (r.kind == Kind::product) {
    const MatmulParams& p = r.matmul;
    const int64_t column = e % p.n, row = e / p.n % p.m, batch = e / p.n / p.m;
    for (int64_t k = 0; k < p.k; k++)
      sum.add(a[batch * p.batchStrideA + (p.transA ? k * p.m + row : row * p.k + k)] *
              b[batch * p.batchStrideB + (p.transB ? column * p.k + k : k * p.n + column)]);
    return sum;
  }
  const Conv2dParams& p = r.conv;
  const int64_t c = p.c, o = p.o;
  if (r.kind == Kind::forward) {
    const int64_t to = e % o, x = e / o % p.wo, y = e / o / p.wo % p.ho, n = e / o / p.wo / p.ho;
    for (int64_t u = 0; u < p.kh; u++)
      for (int64_t v = 0; v < p.kw; v++) {
        const int64_t iy = y * p.stride[0] - p.padLo[0] + u * p.dilation[0];
        const int64_t ix = x * p.stride[1] - p.padLo[1] + v * p.dilation[1];
        if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;
        for (int64_t k = 0; k < c; k++)
          sum.add(a[((n * p.h + iy) * p.w + ix) * c + k] * b[((to * p.kh + u) * p.kw + v) * c + k]);
      }
  } else if (r.kind == Kind::inputGrad) {
    const int64_t to = e % c, x = e / c % p.w, y = e / c / p.w % p.h, n = e / c / p.w / p.h;
    for (int64_t u = 0; u < p.kh; u++)
      for (int64_t v = 0; v < p.kw; v++) {
        const int64_t fromY = y + p.padLo[0] - u * p.dilation[0];
        const int64_t fromX = x + p.padLo[1] - v * p.dilation[1];
        if (fromY < 0 || fromX < 0 || fromY % p.stride[0] || fromX % p.stride[1]) continue;
        const int64_t oy = fromY / p.stride[0], ox = fromX / p.stride[1];
        if (oy >= p.ho || ox >= p.wo) continue;
        for (int64_t k = 0; k < o; k++)
          sum.add(a[((n * p.ho + oy) * p.wo + ox) * o + k] *
                  b[((k * p.kh + u) * p.kw + v) * c + to]);
      }
  } else {
    const int64_t k = e % c, v = e / c % p.kw, u = e / c / p.kw % p.kh, to = e / c / p.kw / p.kh;
    for (int64_t n = 0; n < p.n; n++)
      for (int64_t y = 0; y < p.ho; y++)
        for (int64_t x = 0; x < p.wo; x++) {
          const int64_t iy = y * p.stride[0] - p.padLo[0] + u * p.dilation[0];
          const int64_t ix = x * p.stride[1] - p.padLo[1] + v * p.dilation[1];
          if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;
          sum.add(a[((n * p.h + iy) * p.w + ix) * c + k] * b[((n * p.ho + y) * p.wo + x) * o + to]);
        }
  }
  return sum;
}

/// What finishes the sums; views of nothing where there is none.
struct Finish {
  View scale, bias, addend;
  int32_t scaleStep = 0;
  int activation = kNoActivation;

  template <class P>
  static Finish of(const OpCall& call) {
    const auto operands = EpilogueOperands::of<P>(call);
    const auto view = [](const Operand* x) { return x ? View{x->data, x->format} : View{}; };
    return {view(operands.scale), view(operands.bias), view(operands.addend),
            operands.scale ? columnStepOf(*operands.scale) : 0, call.as<P>().activation};
  }
};

struct Found {
  double got, want, terms;
};
__global__ void sample(Reference r, View a, View b, Finish finish, int64_t columns, View out,
                       int64_t count, int64_t samples, Found* found) {
  for (int64_t s = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; s < samples;
       s += int64_t(gridDim.x) * blockDim.x) {
    const int64_t begin = count * s / samples, end = count * (s + 1) / samples;
    const int64_t e = begin + mixed(uint64_t(s) + 77) % uint64_t(end - begin);
    Sum sum = sumOf(r, a, b, e);
    if (finish.scale.data) {
      const double scale = finish.scale[e % columns * finish.scaleStep];
      sum = {sum.value * scale, sum.terms * (scale < 0 ? -scale : scale)};
    }
    if (finish.bias.data) sum.add(finish.bias[e % columns]);
    double want = sum.value;
    if (finish.activation == kSilu) want /= 1 + exp(-want);
    if (finish.activation == kRelu) want = want < 0 ? 0 : want;
    if (finish.addend.data) want += finish.addend[e];
    found[s] = {out[e], want, sum.terms};
  }
}
__global__ void hashOf(const uint16_t* data, int64_t count, unsigned long long* hash) {
  unsigned long long sum = 0;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += int64_t(gridDim.x) * blockDim.x)
    sum += mixed(uint64_t(i) << 16 | data[i]) * 0x9e3779b97f4a7c15ull;
  atomicAdd(hash, sum);
}

}  // namespace reference

inline void fillRandom(const Operand& operand, int64_t count, uint32_t seed, float scale) {
  reference::fill<<<1024, 256>>>(operand.data, operand.format, count, seed, scale);
  check(cudaDeviceSynchronize(), "fillRandom");
}

inline Comparison compare(const OpCall& call, const Reference& r) {
  using namespace reference;
  const int64_t count = call.out[0].elements();
  // As many as take about as long as the rest.
  double depth = double(r.matmul.k);
  if (r.kind == Kind::forward) depth = double(r.conv.kh) * r.conv.kw * r.conv.c;
  if (r.kind == Kind::inputGrad) depth = double(r.conv.kh) * r.conv.kw * r.conv.o;
  if (r.kind == Kind::weightGrad) depth = double(r.conv.n) * r.conv.ho * r.conv.wo;
  const int64_t most = std::max<int64_t>(32768, int64_t(4e8 / depth));
  const int64_t samples = std::min(count, most);
  const View a = {call.in[0].data, call.in[0].format}, b = {call.in[1].data, call.in[1].format};
  const View out = {call.out[0].data, call.out[0].format};
  const Finish finish = r.kind == Kind::product   ? Finish::of<MatmulParams>(call)
                        : r.kind == Kind::forward ? Finish::of<Conv2dParams>(call)
                                                  : Finish{};
  Found* found = nullptr;
  unsigned long long* hash = nullptr;
  check(cudaMalloc(&found, size_t(samples) * sizeof(Found)), "cudaMalloc");
  check(cudaMalloc(&hash, 8), "cudaMalloc");
  check(cudaMemset(hash, 0, 8), "fill");
  sample<<<int((samples + 127) / 128), 128>>>(
      r, a, b, finish, call.out[0].dims[call.out[0].rank - 1], out, count, samples, found);
  check(cudaGetLastError(), "the reference");
  hashOf<<<1024, 256>>>(static_cast<const uint16_t*>(out.data),
                        count * int64_t(formatBytes(out.format)) / 2, hash);
  std::vector<Found> host(size_t(samples), Found{});
  check(cudaMemcpy(host.data(), found, size_t(samples) * sizeof(Found), cudaMemcpyDeviceToHost),
        "the reference");
  Comparison result;
  check(cudaMemcpy(&result.hash, hash, 8, cudaMemcpyDeviceToHost), "the reference");
  cudaFree(found);
  cudaFree(hash);
  // Half a unit in the last place of the result, and the sums' own rounding.
  const double unit = out.format == Format::f32 ? 4e-7 : out.format == Format::bf16 ? 0.0040 : 5e-4;
  double largest = 0, error = 0;
  for (const Found& f : host) {
    const double off = f.got > f.want ? f.got - f.want : f.want - f.got;
    const double bound = unit * std::abs(f.want) + 3e-6 * f.terms + 6e-8;
    if (!(off / bound <= result.worst)) result.worst = off / bound;
    if (!(off <= error)) error = off;
    largest = std::max(largest, std::abs(f.want));
    if (result.worst != result.worst) break;
  }
  result.relative = error / largest;
  return result;
}

inline Reference matmulReference(const MatmulParams& p) {
  Reference r;
  r.matmul = p;
  return r;
}
inline Reference convReference(Kind kind, const Conv2dParams& p) {
  Reference r;
  r.kind = kind;
  r.conv = p;
  return r;
}

}  // namespace figment::cuda
