// Real ERA5 files through a graph, compared with what CDO makes of them.

#include <cmath>

#include <netcdf.h>

#include "io/safetensors.h"
#include "tests/e2e/trib_test.h"

namespace trib::test {
namespace {

class RealData : public TribTest {
 protected:
  /// All values of a variable as stored, as double.
  static std::vector<double> netcdf_values(const std::string& file, const std::string& variable,
                                           std::size_t count) {
    int id = -1, v = -1;
    EXPECT_EQ(nc_open(file.c_str(), NC_NOWRITE, &id), NC_NOERR) << file;
    EXPECT_EQ(nc_inq_varid(id, variable.c_str(), &v), NC_NOERR) << variable;
    std::vector<double> values(count);
    EXPECT_EQ(nc_get_var_double(id, v, values.data()), NC_NOERR);
    nc_close(id);
    return values;
  }
  Tensor first_sample(const std::string& graph) const {
    write("g.yaml", graph);
    run("g.yaml", "r");
    return io::SafetensorsFile(path("r/tensors/end/sample-00000000.safetensors")).read("x_cyx");
  }
};

TEST_F(RealData, RegriddingAgreesWithCdo) {
  const std::string file = "era5/era5_t2m_global_0p25_cds_2019.nc";
  const std::string reference = "era5/reference_regrid_cdo/t2m_5.625deg_remapbil.nc";
  TRIB_NEEDS_DATA(file);
  TRIB_NEEDS_DATA(reference);
  const Tensor t2m =
      first_sample("nodes:\n  fields: {type: read.netcdf, files: '" + data_file(file) + R"('}
  coarse: {type: regrid, from: fields}
  end:    {type: write.tensors, from: coarse}
)");
  ASSERT_EQ(t2m.shape(), (Shape{1, 32, 64}));
  const auto expected = netcdf_values(data_file(reference), "t2m", 32 * 64);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(t2m.data<float>()[i], expected[i], 1e-6 * expected[i])
        << "row " << i / 64 << ", column " << i % 64;
  }
}

// The file's fields lie as [level, longitude, latitude]; samples are [channel, y, x].
TEST_F(RealData, ThirtySevenLevelsStoredTransposed) {
  const std::string file = "era5/era5_tl31_37lev_19590102T00.nc";
  TRIB_NEEDS_DATA(file);
  const Tensor all = first_sample("nodes:\n  fields: {type: read.netcdf, files: '" +
                                  data_file(file) + R"(', channels: t}
  end:    {type: write.tensors, from: fields}
)");
  ASSERT_EQ(all.shape(), (Shape{37, 32, 64}));
  const auto stored = netcdf_values(data_file(file), "temperature", 37 * 64 * 32);
  const auto latitudes = netcdf_values(data_file(file), "latitude", 32);
  ASSERT_LT(latitudes.front(), latitudes.back()) << "rows are in the order of samples";
  for (std::size_t level = 0; level < 37; ++level) {
    for (std::size_t y = 0; y < 32; ++y) {
      for (std::size_t x = 0; x < 64; ++x) {
        ASSERT_EQ(all.data<float>()[(level * 32 + y) * 64 + x],
                  static_cast<float>(stored[(level * 64 + x) * 32 + y]))
            << "level " << level << ", row " << y << ", column " << x;
      }
    }
  }
}

}  // namespace
}  // namespace trib::test
