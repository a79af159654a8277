#include "io/sample_data/smooth_field.h"

#include <array>
#include <cmath>
#include <cstddef>

namespace trib::io {
namespace {

/// Where a pixel lies among the knots of a cubic B-spline: the first of four, and their weights.
struct Knots {
  int first;
  std::array<float, 4> weights;
};

std::vector<Knots> knots_of(int pixels, double spacing) {
  std::vector<Knots> knots;
  for (int i = 0; i < pixels; ++i) {
    const double at = i / spacing;
    const int first = static_cast<int>(at);
    const double t = at - first, s = 1 - t;
    knots.push_back({first,
                     {static_cast<float>(s * s * s / 6),
                      static_cast<float>((3 * t * t * t - 6 * t * t + 4) / 6),
                      static_cast<float>((3 * s * s * s - 6 * s * s + 4) / 6),
                      static_cast<float>(t * t * t / 6)}});
  }
  return knots;
}

/// Add a field with features of one size.
void add_octave(std::vector<float>& field, const RandomStream& random, int height, int width,
                double spacing, double amplitude) {
  const std::vector<Knots> rows = knots_of(height, spacing), columns = knots_of(width, spacing);
  const int lattice_width = columns.back().first + 4, lattice_height = rows.back().first + 4;
  std::vector<float> lattice(static_cast<std::size_t>(lattice_width * lattice_height));
  for (std::size_t i = 0; i < lattice.size(); ++i) {
    lattice[i] = static_cast<float>(amplitude) * random.normal(i);
  }
  std::size_t pixel = 0;
  for (const Knots& row : rows) {
    for (const Knots& column : columns) {
      float sum = 0;
      for (int j = 0; j < 4; ++j) {
        const float* const line = lattice.data() + (row.first + j) * lattice_width + column.first;
        float along = 0;
        for (std::size_t i = 0; i < 4; ++i) along += column.weights[i] * line[i];
        sum += row.weights[static_cast<std::size_t>(j)] * along;
      }
      field[pixel++] += sum;
    }
  }
}

void standardize(std::vector<float>& field) {
  double sum = 0, squares = 0;
  for (const float value : field) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const auto count = static_cast<double>(field.size());
  const double mean = sum / count;
  const double inverse = 1 / std::sqrt(squares / count - mean * mean);
  for (float& value : field) value = static_cast<float>((value - mean) * inverse);
}

}  // namespace

std::vector<float> smooth_field(const RandomStream& random, int height, int width, double scale,
                                double roughness) {
  std::vector<float> field(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
  std::uint64_t octave = 0;
  double amplitude = 1;
  for (double spacing = scale; spacing >= 2 || octave == 0; spacing /= 2) {
    add_octave(field, random.substream(octave++), height, width, spacing, amplitude);
    amplitude *= roughness;
  }
  standardize(field);
  return field;
}

}  // namespace trib::io
