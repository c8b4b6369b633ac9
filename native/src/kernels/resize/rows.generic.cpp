// Resizing and pooling image row by image row. Channels are innermost and contiguous, so every
// inner loop is a copy or a sum of short vectors; each output row has one writer.
#include <cstring>

#include "../kernel.h"
#include "../params/avgPool.generated.h"
#include "../params/avgPoolGrad.generated.h"
#include "../params/resizeNearest.generated.h"
#include "../params/resizeNearestGrad.generated.h"
#include "geometry.h"

namespace figment::resize {
namespace {

/// Image rows that make up about this many bytes go to a worker at once.
constexpr int64_t kGrainBytes = 1 << 17;

int64_t rowGrain(int64_t rowBytes) { return kGrainBytes / (rowBytes + 1) + 1; }

void copyPixels(const ResizeNearestParams& p, const char* from, char* to, size_t pixel) {
  if (p.wo == p.w) {
    std::memcpy(to, from, pixel * size_t(p.w));
    return;
  }
  for (int64_t x = 0; x < p.wo; x++)
    std::memcpy(to + size_t(x) * pixel, from + size_t(nearestSource(x, p.w, p.wo)) * pixel, pixel);
}

void nearest(const OpCall& call, Context& context) {
  const ResizeNearestParams& p = call.as<ResizeNearestParams>();
  if (call.out[0].elements() == 0) return;
  const size_t pixel = size_t(p.c) * formatBytes(call.in[0].format);
  const size_t inRow = pixel * size_t(p.w), outRow = pixel * size_t(p.wo);
  context.parallelFor(
      int64_t(p.n) * p.ho, rowGrain(int64_t(outRow)), [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; r++) {
          const int64_t n = r / p.ho, y = r % p.ho;
          const int64_t source = nearestSource(y, p.h, p.ho);
          char* to = call.out[0].as<char>() + size_t(r) * outRow;
          // A row that repeats the one above is copied from it.
          if (r > begin && y > 0 && nearestSource(y - 1, p.h, p.ho) == source)
            std::memcpy(to, to - outRow, outRow);
          else
            copyPixels(p, call.in[0].as<char>() + size_t(n * p.h + source) * inRow, to, pixel);
        }
      });
}

void addPixel(float* to, const float* from, int64_t channels) {
  for (int64_t c = 0; c < channels; c++) to[c] += from[c];
}

/// Sums for every pixel of an image row the pixels of `image` in rows(y) x columns(x).
template <class Columns>
void sumBoxes(const float* image, int64_t imageWidth, int64_t channels, Range rows, Columns columns,
              int64_t width, float scale, float* out) {
  for (int64_t x = 0; x < width; x++) {
    float* to = out + x * channels;
    std::memset(to, 0, size_t(channels) * sizeof(float));
    const Range range = columns(x);
    for (int64_t y = rows.begin; y < rows.end; y++)
      for (int64_t i = range.begin; i < range.end; i++)
        addPixel(to, image + (y * imageWidth + i) * channels, channels);
    if (scale != 1.0f)
      for (int64_t c = 0; c < channels; c++) to[c] *= scale;
  }
}

/// Runs sumBoxes for every row of the output images; rows and columns give the boxes.
template <class Rows, class Columns>
void sumImages(const OpCall& call, Context& context, Rows rows, Columns columns, float scale) {
  if (call.out[0].elements() == 0) return;
  const int64_t inHeight = call.in[0].dims[1], inWidth = call.in[0].dims[2];
  const int64_t height = call.out[0].dims[1], width = call.out[0].dims[2];
  const int64_t channels = call.out[0].dims[3];
  const int64_t rowBytes = (inWidth * inHeight / height + width) * channels * 4;
  context.parallelFor(
      call.out[0].dims[0] * height, rowGrain(rowBytes), [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; r++) {
          const float* image = call.in[0].as<float>() + r / height * inHeight * inWidth * channels;
          sumBoxes(image, inWidth, channels, rows(r % height), columns, width, scale,
                   call.out[0].as<float>() + r * width * channels);
        }
      });
}

void nearestGrad(const OpCall& call, Context& context) {
  const ResizeNearestGradParams& p = call.as<ResizeNearestGradParams>();
  sumImages(
      call, context, [&](int64_t y) { return nearestTargets(y, p.h, p.ho); },
      [&](int64_t x) { return nearestTargets(x, p.w, p.wo); }, 1.0f);
}

template <class P>
float windowScale(const P& p) {
  return 1.0f / (float(p.kh) * float(p.kw));
}

void avgPool(const OpCall& call, Context& context) {
  const AvgPoolParams& p = call.as<AvgPoolParams>();
  sumImages(
      call, context, [&](int64_t y) { return windowInputs(y, p.h, p.kh, p.stride[0], p.padLo[0]); },
      [&](int64_t x) { return windowInputs(x, p.w, p.kw, p.stride[1], p.padLo[1]); },
      windowScale(p));
}

void avgPoolGrad(const OpCall& call, Context& context) {
  const AvgPoolGradParams& p = call.as<AvgPoolGradParams>();
  sumImages(
      call, context, [&](int64_t y) { return windowsOver(y, p.ho, p.kh, p.stride[0], p.padLo[0]); },
      [&](int64_t x) { return windowsOver(x, p.wo, p.kw, p.stride[1], p.padLo[1]); },
      windowScale(p));
}

constexpr int kPreference = 10;

int supportsFloat(const OpCall& call) {
  return call.out[0].format == Format::f32 ? kPreference : -1;
}

constexpr Variant variantOf(const char* op, int (*supports)(const OpCall&),
                            void (*run)(const OpCall&, Context&)) {
  return {.op = op,
          .name = "generic-rows",
          .isa = Isa::generic,
          .supports = supports,
          .scratch = nullptr,
          .run = run};
}
const RegisterVariant registerNearest{variantOf(
    "resizeNearest", [](const OpCall&) { return kPreference; }, nearest)};
const RegisterVariant registerNearestGrad{
    variantOf("resizeNearestGrad", supportsFloat, nearestGrad)};
const RegisterVariant registerPool{variantOf("avgPool", supportsFloat, avgPool)};
const RegisterVariant registerPoolGrad{variantOf("avgPoolGrad", supportsFloat, avgPoolGrad)};

}  // namespace
}  // namespace figment::resize
