#include "model/parameters.h"

#include <cmath>
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "ops/base/error.h"

namespace trib::model {
namespace {

ParameterSpec spec_of(const std::string& name, const Shape& shape, Init init) {
  return {.name = name, .shape = shape, .init = init};
}

TEST(ParameterTable, PlacesParametersOnCacheLines) {
  ParameterTable table;
  const ParameterId a = table.add(spec_of("a", {3, 5}, Init::zeros));
  const ParameterId b = table.add(spec_of("b", {17}, Init::zeros));
  const ParameterId c = table.add({.name = "c", .shape = {2}, .trainable = false});
  EXPECT_EQ(table.spec(a).offset, 0);
  EXPECT_EQ(table.spec(b).offset, 16);
  EXPECT_EQ(table.spec(c).offset, 48);
  EXPECT_EQ(table.flat_size(), 64);
  EXPECT_EQ(table.count(), 15 + 17);
  EXPECT_EQ(table.find("b"), b);
  EXPECT_EQ(table.find("d"), -1);
  EXPECT_THROW(table.add(spec_of("a", {1}, Init::zeros)), RuntimeError);
}

TEST(Parameters, ViewsShareTheFlatBuffers) {
  ParameterTable table;
  table.add(spec_of("a", {3}, Init::ones));
  const ParameterId b = table.add(spec_of("b", {2, 2}, Init::ones));
  Parameters parameters(table);
  parameters.value_tensor(b).data<float>()[3] = 7;
  EXPECT_EQ(parameters.value(b)[3], 7);
  EXPECT_EQ(parameters.flat_values().data<float>()[16 + 3], 7);
  parameters.gradient(b)[0] = 2;
  EXPECT_EQ(parameters.gradient_tensor(b).data<float>()[0], 2);
  parameters.zero_gradients();
  EXPECT_EQ(parameters.gradient(b)[0], 0);
}

TEST(Initialization, DependsOnSeedNameAndIndexAlone) {
  ParameterTable forward, reverse;
  const Init inits[] = {Init::truncated_normal, Init::normal, Init::xavier_uniform};
  for (int i = 0; i < 3; ++i) {
    forward.add(spec_of("p" + std::to_string(i), {7, 9}, inits[i]));
    reverse.add(spec_of("p" + std::to_string(2 - i), {7, 9}, inits[2 - i]));
  }
  Parameters a(forward), b(reverse), other_seed(forward);
  a.initialize(3);
  b.initialize(3);
  other_seed.initialize(4);
  for (const ParameterSpec& spec : forward.specs()) {
    const float* x = a.value(forward.find(spec.name));
    const float* y = b.value(reverse.find(spec.name));
    const float* z = other_seed.value(forward.find(spec.name));
    for (int i = 0; i < 63; ++i) {
      EXPECT_EQ(x[i], y[i]) << spec.name;
      EXPECT_NE(x[i], z[i]) << spec.name;
    }
  }
}

TEST(Initialization, DrawsFromTheDistributionsAskedFor) {
  ParameterTable table;
  const ParameterId linear = table.add(spec_of("linear", {64, 32}, Init::xavier_uniform));
  const ParameterId stack = table.add(spec_of("stack", {9, 24, 1, 4, 4}, Init::xavier_uniform));
  const ParameterId cut = table.add(spec_of("cut", {4096}, Init::truncated_normal));
  const ParameterId normal = table.add(spec_of("normal", {4096}, Init::normal));
  const ParameterId mean = table.add(spec_of("mean", {1, 5}, Init::average));
  Parameters parameters(table);
  parameters.initialize(1);

  const auto largest = [&](ParameterId id) {
    double found = 0;
    for (std::int64_t i = 0; i < table.spec(id).shape.numel(); ++i) {
      found = std::max(found, std::abs(static_cast<double>(parameters.value(id)[i])));
    }
    return found;
  };
  const auto deviation = [&](ParameterId id) {
    double sum = 0;
    const std::int64_t count = table.spec(id).shape.numel();
    for (std::int64_t i = 0; i < count; ++i) sum += std::pow(parameters.value(id)[i], 2);
    return std::sqrt(sum / static_cast<double>(count));
  };
  EXPECT_NEAR(largest(linear), std::sqrt(6.0 / 96), 1e-3);  // 0.25
  EXPECT_LE(largest(linear), std::sqrt(6.0 / 96) + 1e-6);
  EXPECT_NEAR(largest(stack), std::sqrt(6.0 / (24 + 16)), 1e-3);
  EXPECT_LE(largest(cut), 0.04 + 1e-6);
  EXPECT_NEAR(deviation(cut), 0.02 * 0.8796, 0.0006);  // of a normal cut at two deviations
  EXPECT_NEAR(deviation(normal), 0.02, 0.0007);
  EXPECT_GT(largest(normal), 0.05);
  EXPECT_EQ(parameters.value(mean)[4], 0.2F);
}

TEST(Initialization, EncodesPositions) {
  ParameterTable table;
  const ParameterId line = table.add(spec_of("line", {1, 4, 6}, Init::sincos_1d));
  const ParameterId grid =
      table.add({.name = "grid", .shape = {1, 6, 8}, .init = Init::sincos_2d, .grid_width = 3});
  Parameters parameters(table);
  parameters.initialize(1);
  const float* row3 = parameters.value(line) + 3 * 6;
  for (int i = 0; i < 3; ++i) {
    const double angle = 3 * std::pow(10000.0, -i / 3.0);
    EXPECT_NEAR(row3[i], std::sin(angle), 1e-6);
    EXPECT_NEAR(row3[3 + i], std::cos(angle), 1e-6);
  }
  // Token 5 of a grid three wide: column 2 in the first half, row 1 in the second.
  const float* token5 = parameters.value(grid) + 5 * 8;
  const double expected[] = {std::sin(2.0), std::sin(0.02), std::cos(2.0), std::cos(0.02),
                             std::sin(1.0), std::sin(0.01), std::cos(1.0), std::cos(0.01)};
  for (int d = 0; d < 8; ++d) EXPECT_NEAR(token5[d], expected[d], 1e-6) << d;
}

}  // namespace
}  // namespace trib::model
