// The peer oneDNN, 2.x or 3.x: convolutions (forward, by data, by weights) and matrix products,
// with weights in the layout that it asks for, packed before. Prints its version; then, for each
// line on standard input, what torch_kernels.py does. The records are those of
// benchmarks/src/work.ts, with `format`, `threads` and `algorithm` (direct, winograd).

#include <omp.h>

#include <iostream>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using Record = std::map<std::string, std::string>;
using Tag = dnnl::memory::format_tag;
using Dims = dnnl::memory::dims;
using Desc = dnnl::memory::desc;

/// One work, ready to run as often as asked.
struct Prepared {
  dnnl::primitive primitive;
  std::unordered_map<int, dnnl::memory> arguments;
  int threads;
};

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

int64_t number(const Record& record, const char* key) { return std::stoll(record.at(key)); }

/// Memory with numbers in [-1, 1) in it, whatever its layout: reordered from plain f32.
dnnl::memory filled(const Desc& desc, const Dims& dims, Tag plain) {
  int64_t count = 1;
  for (const int64_t extent : dims) count *= extent;
  std::vector<float> values(count);
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = float(state) / 2147483648.0f - 1.0f;
  }
  dnnl::memory from({dims, dnnl::memory::data_type::f32, plain}, engine(), values.data());
  dnnl::memory to(desc, engine());
  dnnl::stream stream(engine());
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
  return to;
}

Prepared conv(const Record& record, dnnl::memory::data_type type) {
  const int64_t n = number(record, "n"), in = number(record, "inChannels"),
                out = number(record, "outChannels"), size = number(record, "size"),
                outSize = number(record, "outSize"), kernel = number(record, "kernel");
  const Dims xDims{n, in, size, size}, wDims{out, in, kernel, kernel},
      yDims{n, out, outSize, outSize};
  const Dims strides(2, number(record, "stride")), padding(2, number(record, "padding"));
  const bool winograd = record.at("algorithm") == "winograd";
  const auto algorithm =
      winograd ? dnnl::algorithm::convolution_winograd : dnnl::algorithm::convolution_direct;
  const Desc x(xDims, type, Tag::any), w(wDims, type, Tag::any), y(yDims, type, Tag::any);
  const std::string pass = record.at("pass");
  const auto use =
      pass == "forward" ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::convolution_forward::primitive_desc forward(engine(), use, algorithm, x, w, y,
                                                          strides, padding, padding);
#else
  const dnnl::convolution_forward::primitive_desc forward(
      {use, algorithm, x, w, y, strides, padding, padding}, engine());
#endif
  if (pass == "forward")
    return {dnnl::convolution_forward(forward),
            {{DNNL_ARG_SRC, filled(forward.src_desc(), xDims, Tag::nchw)},
             {DNNL_ARG_WEIGHTS, filled(forward.weights_desc(), wDims, Tag::oihw)},
             {DNNL_ARG_DST, dnnl::memory(forward.dst_desc(), engine())}},
            0};
  if (pass == "data") {
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::convolution_backward_data::primitive_desc data(engine(), algorithm, x, w, y,
                                                               strides, padding, padding, forward);
#else
    const dnnl::convolution_backward_data::primitive_desc data(
        {algorithm, x, w, y, strides, padding, padding}, engine(), forward);
#endif
    return {dnnl::convolution_backward_data(data),
            {{DNNL_ARG_DIFF_DST, filled(data.diff_dst_desc(), yDims, Tag::nchw)},
             {DNNL_ARG_WEIGHTS, filled(data.weights_desc(), wDims, Tag::oihw)},
             {DNNL_ARG_DIFF_SRC, dnnl::memory(data.diff_src_desc(), engine())}},
            0};
  }
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::convolution_backward_weights::primitive_desc weights(
      engine(), algorithm, x, w, y, strides, padding, padding, forward);
#else
  const dnnl::convolution_backward_weights::primitive_desc weights(
      {algorithm, x, w, y, strides, padding, padding}, engine(), forward);
#endif
  return {dnnl::convolution_backward_weights(weights),
          {{DNNL_ARG_SRC, filled(weights.src_desc(), xDims, Tag::nchw)},
           {DNNL_ARG_DIFF_DST, filled(weights.diff_dst_desc(), yDims, Tag::nchw)},
           {DNNL_ARG_DIFF_WEIGHTS, dnnl::memory(weights.diff_weights_desc(), engine())}},
          0};
}

Prepared matmul(const Record& record, dnnl::memory::data_type type) {
  const int64_t m = number(record, "m"), k = number(record, "k"), n = number(record, "n");
  const Dims aDims{m, k}, bDims{k, n}, yDims{m, n};
  // Rows as they come and go; the right operand packed before, as the weights of a layer are.
  const Desc a(aDims, type, Tag::ab), b(bDims, type, Tag::any), y(yDims, type, Tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc product(engine(), a, b, y);
#else
  const dnnl::matmul::primitive_desc product({a, b, y}, engine());
#endif
  return {dnnl::matmul(product),
          {{DNNL_ARG_SRC, filled(product.src_desc(), aDims, Tag::ab)},
           {DNNL_ARG_WEIGHTS, filled(product.weights_desc(), bDims, Tag::ab)},
           {DNNL_ARG_DST, dnnl::memory(product.dst_desc(), engine())}},
          0};
}

/// Throws dnnl::error where the library has no such implementation.
Prepared prepare(const Record& record) {
  const int threads = int(number(record, "threads"));
  omp_set_num_threads(threads);
  const auto type =
      record.at("format") == "bf16" ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
  Prepared prepared = record.at("kind") == "conv" ? conv(record, type) : matmul(record, type);
  prepared.threads = threads;
  return prepared;
}

}  // namespace

int main() {
  const dnnl_version_t* version = dnnl_version();
  std::cout << version->major << "." << version->minor << "." << version->patch << std::endl;
  dnnl::stream stream(engine());
  std::map<int, Prepared> all;
  int next = 0;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    if (command == "prepare") {
      Record record;
      for (std::string word; words >> word;) {
        const size_t at = word.find('=');
        record[word.substr(0, at)] = word.substr(at + 1);
      }
      try {
        all.emplace(next, prepare(record));
        std::cout << "ready " << next++ << std::endl;
      } catch (const dnnl::error& error) {
        std::cout << "unsupported " << error.what() << std::endl;
      }
    } else if (command == "run") {
      int id = 0;
      int64_t repeats = 0;
      words >> id >> repeats;
      Prepared& prepared = all.at(id);
      omp_set_num_threads(prepared.threads);
      for (int64_t i = 0; i < repeats; i++) prepared.primitive.execute(stream, prepared.arguments);
      stream.wait();
      std::cout << "done" << std::endl;
    } else if (command == "release") {
      int id = 0;
      words >> id;
      all.erase(id);
    }
  }
}
