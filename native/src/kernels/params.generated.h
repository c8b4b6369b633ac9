// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

/// Opcodes of the elementwise interpreter.
enum class Opcode : uint16_t {
  kLoad = 0,
  kStore = 1,
  kConstant = 2,
  kCast = 3,
  kSelect = 4,
  kAdd = 5,
  kSub = 6,
  kMul = 7,
  kDiv = 8,
  kMaximum = 9,
  kMinimum = 10,
  kPow = 11,
  kRem = 12,
  kNeg = 13,
  kAbs = 14,
  kSign = 15,
  kExp = 16,
  kExpm1 = 17,
  kLog = 18,
  kLog1p = 19,
  kSqrt = 20,
  kRsqrt = 21,
  kSquare = 22,
  kTanh = 23,
  kSigmoid = 24,
  kSoftplus = 25,
  kErf = 26,
  kSin = 27,
  kCos = 28,
  kFloor = 29,
  kCeil = 30,
  kRound = 31,
  kEq = 32,
  kNe = 33,
  kLt = 34,
  kLe = 35,
  kGt = 36,
  kGe = 37,
};
constexpr int kOpcodeCount = 38;

/// What a register of the elementwise interpreter holds.
enum class RegisterType : uint8_t {
  kF32 = 0,
  kF64 = 1,
  kI32 = 2,
};
constexpr int kRegisterTypeCount = 3;

struct Instruction {
  Opcode op;
  uint8_t dst;
  uint8_t a;
  uint8_t b;
  uint8_t c;
  RegisterType type;
  uint8_t zero;
  double imm;
};
static_assert(sizeof(Instruction) == 16);

struct AdamParams {
  static constexpr uint64_t kHash = 0xb33a4ff6798af391ull;
  int32_t count;
  int32_t decoupled;
  double beta1;
  double beta2;
  double eps;
  double weightDecay;
};
static_assert(sizeof(AdamParams) == 40);

struct AddNoiseParams {
  static constexpr uint64_t kHash = 0xdffaf90586b098d9ull;
  int64_t n;
  int64_t inner;
  int64_t steps;
};
static_assert(sizeof(AddNoiseParams) == 24);

struct ArgReduceParams {
  static constexpr uint64_t kHash = 0xdf32068b655ef0ceull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int32_t kind;
  uint8_t padding_[4];
};
static_assert(sizeof(ArgReduceParams) == 32);

struct AttentionParams {
  static constexpr uint64_t kHash = 0x15177a5b84e6cb7dull;
  int32_t b;
  int32_t h;
  int32_t sq;
  int32_t sk;
  int32_t d;
  int32_t causal;
  double scale;
};
static_assert(sizeof(AttentionParams) == 32);

struct AttentionGradParams {
  static constexpr uint64_t kHash = 0xed3038aa6a3a5b79ull;
  int32_t b;
  int32_t h;
  int32_t sq;
  int32_t sk;
  int32_t d;
  int32_t causal;
  double scale;
};
static_assert(sizeof(AttentionGradParams) == 32);

struct AvgPoolParams {
  static constexpr uint64_t kHash = 0xe034e912444f3850ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
};
static_assert(sizeof(AvgPoolParams) == 56);

struct AvgPoolGradParams {
  static constexpr uint64_t kHash = 0x2bba97c06a26ae54ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
};
static_assert(sizeof(AvgPoolGradParams) == 56);

struct BatchNormParams {
  static constexpr uint64_t kHash = 0xa077627a4addca4aull;
  int64_t rows;
  int64_t c;
  double eps;
};
static_assert(sizeof(BatchNormParams) == 24);

struct BatchNormGradParams {
  static constexpr uint64_t kHash = 0xd19ee77db417d1b6ull;
  int64_t rows;
  int64_t c;
  double eps;
};
static_assert(sizeof(BatchNormGradParams) == 24);

struct BiasActParams {
  static constexpr uint64_t kHash = 0xaa60b478360746e0ull;
  int64_t rows;
  int64_t c;
  int32_t activation;
  int32_t clamped;
  double slope;
  double gain;
  double limit;
};
static_assert(sizeof(BiasActParams) == 48);

struct BiasActGradParams {
  static constexpr uint64_t kHash = 0x768358bf4fff2f38ull;
  int64_t rows;
  int64_t c;
  int32_t activation;
  int32_t clamped;
  double slope;
  double gain;
  double limit;
};
static_assert(sizeof(BiasActGradParams) == 48);

struct CheckFiniteParams {
  static constexpr uint64_t kHash = 0xe7ca614de6f58ef5ull;
  int32_t count;
  uint8_t padding_[4];
};
static_assert(sizeof(CheckFiniteParams) == 8);

struct Conv2dParams {
  static constexpr uint64_t kHash = 0x5c027f461b91e074ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t o;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
  int32_t dilation[2];
  int32_t groups;
  int32_t bias;
  int32_t activation;
};
static_assert(sizeof(Conv2dParams) == 80);

struct Conv2dInputGradParams {
  static constexpr uint64_t kHash = 0xe40d5989bcd38233ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t o;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
  int32_t dilation[2];
  int32_t groups;
};
static_assert(sizeof(Conv2dInputGradParams) == 72);

struct Conv2dWeightGradParams {
  static constexpr uint64_t kHash = 0x780033ed6ab8c699ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t o;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
  int32_t dilation[2];
  int32_t groups;
};
static_assert(sizeof(Conv2dWeightGradParams) == 72);

struct CrossEntropyParams {
  static constexpr uint64_t kHash = 0xdbd9c715c7e6bf84ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(CrossEntropyParams) == 16);

struct CrossEntropyGradParams {
  static constexpr uint64_t kHash = 0x29c449fd08cb699cull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(CrossEntropyGradParams) == 16);

struct CumsumParams {
  static constexpr uint64_t kHash = 0xf896c31b5ca81cdbull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int32_t exclusive;
  int32_t reverse;
};
static_assert(sizeof(CumsumParams) == 32);

struct DynamicSliceParams {
  static constexpr uint64_t kHash = 0xee59999c65820155ull;
  int32_t rank;
  uint8_t padding_[4];
};
static_assert(sizeof(DynamicSliceParams) == 8);

struct DynamicUpdateSliceParams {
  static constexpr uint64_t kHash = 0x3a73c3ae0c695258ull;
  int32_t rank;
  uint8_t padding_[4];
};
static_assert(sizeof(DynamicUpdateSliceParams) == 8);

struct ElementwiseParams {
  static constexpr uint64_t kHash = 0xe1923d8b2547997bull;
  int32_t instructions;
  int32_t registers;
};
static_assert(sizeof(ElementwiseParams) == 8);

struct EmaUpdateParams {
  static constexpr uint64_t kHash = 0xc2ac939caa384f6dull;
  int32_t count;
  uint8_t padding_[4];
};
static_assert(sizeof(EmaUpdateParams) == 8);

struct FlipParams {
  static constexpr uint64_t kHash = 0xb1fa940a6c497cf4ull;
  int32_t axes;
  uint8_t padding_[4];
};
static_assert(sizeof(FlipParams) == 8);

struct GatherParams {
  static constexpr uint64_t kHash = 0x25e2a63b01a968ebull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(GatherParams) == 32);

struct GroupNormParams {
  static constexpr uint64_t kHash = 0xd3393b2d6c291c3full;
  int64_t n;
  int64_t spatial;
  int64_t c;
  int32_t groups;
  int32_t silu;
  double eps;
};
static_assert(sizeof(GroupNormParams) == 40);

struct GroupNormGradParams {
  static constexpr uint64_t kHash = 0x517060ec802ab80full;
  int64_t n;
  int64_t spatial;
  int64_t c;
  int32_t groups;
  int32_t silu;
  double eps;
};
static_assert(sizeof(GroupNormGradParams) == 40);

struct LayerNormParams {
  static constexpr uint64_t kHash = 0x3cd48196d9e10ee3ull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(LayerNormParams) == 24);

struct LayerNormGradParams {
  static constexpr uint64_t kHash = 0xb3881d2ab0b15c8bull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(LayerNormGradParams) == 24);

struct LogSoftmaxParams {
  static constexpr uint64_t kHash = 0x381848ee14b1e147ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(LogSoftmaxParams) == 16);

struct LogSoftmaxGradParams {
  static constexpr uint64_t kHash = 0xda7b0b1de8b08603ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(LogSoftmaxGradParams) == 16);

struct MatmulParams {
  static constexpr uint64_t kHash = 0x6f37efebb5ebcd70ull;
  int64_t batch;
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t batchStrideA;
  int64_t batchStrideB;
  int32_t transA;
  int32_t transB;
  int32_t bias;
  int32_t activation;
};
static_assert(sizeof(MatmulParams) == 64);

struct MaxPoolParams {
  static constexpr uint64_t kHash = 0xbe12e7156f0c422aull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
};
static_assert(sizeof(MaxPoolParams) == 56);

struct MaxPoolGradParams {
  static constexpr uint64_t kHash = 0x571b77dc71a7bdd6ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
};
static_assert(sizeof(MaxPoolGradParams) == 56);

struct MaxPoolTakeParams {
  static constexpr uint64_t kHash = 0x18136ed09b7b01f7ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
};
static_assert(sizeof(MaxPoolTakeParams) == 56);

struct RandomCategoricalParams {
  static constexpr uint64_t kHash = 0x2516a595c502fabdull;
  int64_t rows;
  int64_t cols;
  int64_t draws;
};
static_assert(sizeof(RandomCategoricalParams) == 24);

struct RandomIntegerParams {
  static constexpr uint64_t kHash = 0x31dc46541103f553ull;
  int64_t count;
  int64_t lo;
  int64_t hi;
};
static_assert(sizeof(RandomIntegerParams) == 24);

struct RandomNormalParams {
  static constexpr uint64_t kHash = 0xde60a656ed8d4a90ull;
  int64_t count;
};
static_assert(sizeof(RandomNormalParams) == 8);

struct RandomUniformParams {
  static constexpr uint64_t kHash = 0x93733a9ad6d3470bull;
  int64_t count;
};
static_assert(sizeof(RandomUniformParams) == 8);

struct ReduceParams {
  static constexpr uint64_t kHash = 0x108852a84a28d214ull;
  int32_t kind;
  int32_t axes;
};
static_assert(sizeof(ReduceParams) == 8);

struct ResizeBilinearParams {
  static constexpr uint64_t kHash = 0x66ec66e5fee7798aull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t alignCorners;
  uint8_t padding_[4];
};
static_assert(sizeof(ResizeBilinearParams) == 32);

struct ResizeBilinearGradParams {
  static constexpr uint64_t kHash = 0xec71a43615abb66eull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t alignCorners;
  uint8_t padding_[4];
};
static_assert(sizeof(ResizeBilinearGradParams) == 32);

struct ResizeNearestParams {
  static constexpr uint64_t kHash = 0xc49848c1cfc6c876ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
};
static_assert(sizeof(ResizeNearestParams) == 24);

struct ResizeNearestGradParams {
  static constexpr uint64_t kHash = 0x5a98da8c1a506d4aull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
};
static_assert(sizeof(ResizeNearestGradParams) == 24);

struct RmsNormParams {
  static constexpr uint64_t kHash = 0x130f8af87299f504ull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(RmsNormParams) == 24);

struct RmsNormGradParams {
  static constexpr uint64_t kHash = 0x66452059ab2ef180ull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(RmsNormGradParams) == 24);

struct RmspropParams {
  static constexpr uint64_t kHash = 0xbb9f90d485cb7fabull;
  int32_t count;
  int32_t centered;
  int32_t buffered;
  double alpha;
  double eps;
  double momentum;
  double weightDecay;
};
static_assert(sizeof(RmspropParams) == 48);

struct SamplerStepParams {
  static constexpr uint64_t kHash = 0x7aefb1ab51e8380eull;
  int64_t size;
  int32_t tensors;
  int32_t noise;
  int32_t clamp;
  float lo;
  float hi;
  uint8_t padding_[4];
};
static_assert(sizeof(SamplerStepParams) == 32);

struct ScatterAddParams {
  static constexpr uint64_t kHash = 0xc79afdf3029b2261ull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(ScatterAddParams) == 32);

struct ScatterAddAlongParams {
  static constexpr uint64_t kHash = 0x08aaab0a9cd61d94ull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(ScatterAddAlongParams) == 32);

struct SgdParams {
  static constexpr uint64_t kHash = 0xff05b38d77f4c724ull;
  int32_t count;
  int32_t buffered;
  int32_t nesterov;
  double momentum;
  double weightDecay;
};
static_assert(sizeof(SgdParams) == 32);

struct SoftmaxParams {
  static constexpr uint64_t kHash = 0x2a205910f9178ddbull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(SoftmaxParams) == 16);

struct SoftmaxGradParams {
  static constexpr uint64_t kHash = 0xe3bf8df8f0c9da77ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(SoftmaxGradParams) == 16);

struct SortParams {
  static constexpr uint64_t kHash = 0x9d9fe05d52bf6345ull;
  int64_t rows;
  int64_t cols;
  int64_t count;
  int32_t descending;
  uint8_t padding_[4];
};
static_assert(sizeof(SortParams) == 32);

struct SumSquaresParams {
  static constexpr uint64_t kHash = 0x5a4bbf090d6d1b02ull;
  int32_t count;
  uint8_t padding_[4];
};
static_assert(sizeof(SumSquaresParams) == 8);

struct TakeAlongParams {
  static constexpr uint64_t kHash = 0x71e02405d1aa94c2ull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(TakeAlongParams) == 32);

struct Upfirdn2dParams {
  static constexpr uint64_t kHash = 0x4a6f05384c0cbe96ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t up[2];
  int32_t down[2];
  int32_t padLo[2];
  int32_t padHi[2];
  int32_t flip;
  uint8_t padding_[4];
};
static_assert(sizeof(Upfirdn2dParams) == 72);

}  // namespace figment
