// biasAct, one thread for each element; its gradient, one block for each channel.
#include "../../device/floats.h"
#include "../../device/warp.h"
#include "activation.h"
#include "kernels/params/biasAct.generated.h"
#include "kernels/params/biasActGrad.generated.h"
#include "plain.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class W>
FIGMENT_KERNEL(kThreads)
forwardKernel(int64_t count, int64_t c, BiasActivation<W> f, Global<const W> x,
              Global<const W> bias, Global<W> y) {
  for (int64_t i = threadInGrid(); i < count; i += threadsOfGrid())
    y[i] = f.value(x[i] + bias[i % c]);
}

template <class W>
FIGMENT_KERNEL(kThreads)
backwardKernel(int64_t rows, int64_t c, BiasActivation<W> f, Global<const W> x,
               Global<const W> bias, Global<const W> dy, Global<W> dx, Global<W> dbias) {
  const int64_t channel = blockInGrid();
  if (channel >= c) return;
  W sum = 0;
  for (int64_t row = threadIdx.x; row < rows; row += kThreads) {
    const int64_t i = row * c + channel;
    const W d = f.cotangent(x[i] + bias[channel], dy[i]);
    dx[i] = d;
    sum += d;
  }
  sum = blockSum<kThreads>(sum);
  if (threadIdx.x == 0) dbias[channel] = sum;
}

template <class W>
void forward(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<BiasActParams>();
  const int64_t count = call.in[0].elements();
  launch<forwardKernel<W>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0, count, p.c,
                           BiasActivation<W>::of(p), viewOf<const W>(call.in[0]),
                           viewOf<const W>(call.in[1]), viewOf<W>(call.out[0]));
}
template <class W>
void backward(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<BiasActGradParams>();
  launch<backwardKernel<W>>(launcher, blocksFor(p.c), kThreads, 0, p.rows, p.c,
                            BiasActivation<W>::of(p), viewOf<const W>(call.in[0]),
                            viewOf<const W>(call.in[1]), viewOf<const W>(call.in[2]),
                            viewOf<W>(call.out[0]), viewOf<W>(call.out[1]));
}

}  // namespace

void plainBiasAct(const OpCall& call, Context& context) {
  byWidth<forward<float>, forward<double>>(call, context);
}
void plainBiasActGrad(const OpCall& call, Context& context) {
  byWidth<backward<float>, backward<double>>(call, context);
}

namespace {
const RegisterVariant forwardVariant{plainVariant("biasAct", plainBiasAct)};
const RegisterVariant backwardVariant{plainVariant("biasActGrad", plainBiasActGrad)};
}  // namespace

}  // namespace figment::cuda
