#include "tests/fuzz/small_files.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

#include <gdal_priv.h>

#include "io/cube/cube_source.h"
#include "io/grid/grid_source.h"
#include "io/labels.h"
#include "io/prepared/prepared_source.h"
#include "io/prepared/shard_writer.h"
#include "io/raster/raster_source.h"
#include "io/safetensors.h"
#include "pipeline/stages/statistics_file.h"
#include "tests/io/hdf5_writer.h"
#include "tests/io/netcdf_writer.h"
#include "tests/support/test_data.h"

namespace trib::test {
namespace {

// What a run would read of it, without the wish for more memory than a run would grant.
std::vector<float> values_of(const io::ImageSource& source) {
  constexpr std::int64_t kMost = std::int64_t{1} << 22;
  std::vector<float> values;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(source.size(), 6); ++i) {
    const io::Extent extent = source.extent(i);
    const auto channels = static_cast<std::int64_t>(source.channels().size());
    std::optional<io::Window> window;
    if (extent.height > kMost || extent.width > kMost ||
        extent.height * extent.width > kMost / std::max<std::int64_t>(channels, 1)) {
      window = io::Window{0, 0, std::min<std::int64_t>(extent.height, 8),
                          std::min<std::int64_t>(extent.width, 8)};
      if (channels > kMost / 64) throw std::length_error("more channels than any file has");
    }
    const io::Image image = source.read(i, window);
    const float* first = image.data_cyx.data<float>();
    values.insert(values.end(), first, first + image.data_cyx.numel());
    values.push_back(static_cast<float>(image.provenance.label));
  }
  return values;
}

std::vector<float> read_raster(const std::string& path) {
  io::RasterOptions options;
  options.files = {path};
  return values_of(*io::open_raster(options));
}
std::vector<float> read_grid(const std::string& path) {
  io::GridOptions options;
  options.files = {path};
  return values_of(*io::open_grid(options));
}
std::vector<float> read_cube(const std::string& path) {
  io::CubeOptions options;
  options.files = {path};
  return values_of(*io::open_cube(options));
}

// --- rasters -------------------------------------------------------------------------------------

// Three bands of numbers that compress neither to nothing nor badly.
std::unique_ptr<GDALDataset> scene(GDALDataType type, int side) {
  GDALDriver* memory = GetGDALDriverManager()->GetDriverByName("MEM");
  std::unique_ptr<GDALDataset> data(memory->Create("", side, side, 3, type, nullptr));
  double transform[6] = {500000, 10, 0, 5000000, 0, -10};
  data->SetGeoTransform(transform);
  std::vector<float> row(static_cast<std::size_t>(side));
  for (int band = 1; band <= 3; ++band) {
    for (int y = 0; y < side; ++y) {
      for (int x = 0; x < side; ++x) {
        row[static_cast<std::size_t>(x)] = static_cast<float>(
            100 + 60 * std::sin(0.3 * x * band) + 40 * std::cos(0.2 * y) + (x * y * 7) % 5);
      }
      EXPECT_EQ(data->GetRasterBand(band)->RasterIO(GF_Write, 0, y, side, 1, row.data(), side, 1,
                                                    GDT_Float32, 0, 0, nullptr),
                CE_None);
    }
  }
  return data;
}

std::function<std::string(const std::string&)> write_raster(std::string driver_name,
                                                            std::string name,
                                                            std::vector<std::string> options = {},
                                                            GDALDataType type = GDT_UInt16) {
  return [=](const std::string& folder) -> std::string {
    GDALAllRegister();
    GDALDriver* driver = GetGDALDriverManager()->GetDriverByName(driver_name.c_str());
    if (driver == nullptr) return "";
    char** list = nullptr;
    for (const std::string& option : options) list = CSLAddString(list, option.c_str());
    const std::unique_ptr<GDALDataset> data = scene(type, 48);
    GDALDataset* copy = driver->CreateCopy((folder + "/" + name).c_str(), data.get(), FALSE, list,
                                           nullptr, nullptr);
    CSLDestroy(list);
    if (copy == nullptr) return "";
    GDALClose(copy);
    return name;
  };
}

// The file written is `name`; the one to damage beside it another.
std::function<std::string(const std::string&)> with(
    std::function<std::string(const std::string&)> write, std::string other) {
  return [=](const std::string& folder) { return write(folder).empty() ? std::string() : other; };
}
std::function<std::vector<float>(const std::string&)> read_beside(std::string name) {
  return [=](const std::string& path) {
    return read_raster(std::filesystem::path(path).replace_filename(name));
  };
}

std::string write_vrt(const std::string& folder) {
  if (write_raster("GTiff", "part.tif")(folder).empty()) return "";
  return write_raster("VRT", "scene.vrt")(folder).empty() ? "" : [&] {
    std::ofstream(folder + "/scene.vrt") << R"(<VRTDataset rasterXSize="48" rasterYSize="48">
  <GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>
  <VRTRasterBand dataType="UInt16" band="1">
    <NoDataValue>0</NoDataValue>
    <SimpleSource>
      <SourceFilename relativeToVRT="1">part.tif</SourceFilename>
      <SourceBand>2</SourceBand>
      <SrcRect xOff="0" yOff="0" xSize="48" ySize="48"/>
      <DstRect xOff="0" yOff="0" xSize="48" ySize="48"/>
    </SimpleSource>
  </VRTRasterBand>
</VRTDataset>
)";
    return std::string("scene.vrt");
  }();
}

// --- gridded fields ------------------------------------------------------------------------------

std::string write_netcdf(const std::string& folder, int mode, bool packed, bool checksum) {
  NetcdfWriter file(folder + "/fields.nc", mode);
  const int time = file.dimension("time", 4), y = file.dimension("latitude", 9);
  const int x = file.dimension("longitude", 16);
  const int times = file.define("time", NC_DOUBLE, {time});
  const int latitudes = file.define("latitude", NC_DOUBLE, {y});
  const int longitudes = file.define("longitude", NC_DOUBLE, {x});
  const int field = file.define("t2m", packed ? NC_SHORT : NC_FLOAT, {time, y, x});
  file.attribute(times, "units", "hours since 2019-03-01");
  file.attribute(latitudes, "units", "degrees_north");
  file.attribute(longitudes, "units", "degrees_east");
  file.attribute(field, "units", "K");
  if (packed) {
    file.attribute(field, "scale_factor", NC_DOUBLE, 0.01);
    file.attribute(field, "add_offset", NC_DOUBLE, 280);
    file.attribute(field, "_FillValue", NC_SHORT, -32767);
  }
  if (mode == NC_NETCDF4) file.compress(field, {2, 9, 16}, checksum);
  const auto ramp = [](std::size_t count, double first, double step) {
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = first + step * static_cast<double>(i);
    return values;
  };
  file.write(times, ramp(4, 0, 6));
  file.write(latitudes, ramp(9, 60, -15));
  file.write(longitudes, ramp(16, 0, 22.5));
  std::vector<double> values = ramp(4 * 9 * 16, 0, 0.37);
  for (double& v : values) v = (packed ? 500 : 280) + 20 * std::sin(v);
  file.write(field, values);
  return "fields.nc";
}

std::string write_cube(const std::string& folder, bool checksum) {
  Hdf5Writer file(folder + "/cube.h5");
  file.counted("/reflectance", H5T_STD_I16LE, {12, 10, 8}, {6, 5, 8}, checksum);
  file.dataset("/wavelength", H5T_IEEE_F32LE, {8}, {400, 450, 500, 550, 600, 650, 700, 750});
  file.attribute("/reflectance", "scale_factor", {1e-4});
  file.attribute("/reflectance", "_FillValue", {-9999});
  return "cube.h5";
}

// --- real files ----------------------------------------------------------------------------------

std::function<std::string(const std::string&)> real(std::string name, std::size_t first_bytes = 0) {
  return [=](const std::string& folder) -> std::string {
    const std::filesystem::path path = data_file(name);
    if (!std::filesystem::exists(path)) return "";
    std::ifstream in(path, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    if (first_bytes > 0) bytes.resize(std::min(bytes.size(), first_bytes));
    std::ofstream(folder + "/" + path.filename().string(), std::ios::binary) << bytes;
    return path.filename();
  };
}

// Whole messages of the first times; a GRIB 1 message tells its length in its bytes 4 to 6.
std::string first_messages(const std::string& folder) {
  const std::string name = real("era5/era5_eda_levels_members.grib")(folder);
  if (name.empty()) return "";
  std::ifstream in(folder + "/" + name, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::size_t end = 0;
  for (int message = 0; message < 2; ++message) {
    const auto byte = [&](std::size_t i) {
      return std::size_t{static_cast<unsigned char>(bytes[end + i])};
    };
    end += byte(4) << 16U | byte(5) << 8U | byte(6);
  }
  std::ofstream(folder + "/fields.grib", std::ios::binary) << bytes.substr(0, end);
  std::filesystem::remove(folder + "/" + name);
  return "fields.grib";
}

// --- prepared samples ----------------------------------------------------------------------------

// One shard of five samples. Returns the name of its largest file, or of the index.
std::string write_prepared(const std::string& folder, int zstd_level, bool want_index) {
  io::PreparedHead head;
  head.layout.channels = {{"a", "K"}, {"b", "m"}};
  head.layout.extent = {12, 20};
  head.layout.zstd_level = zstd_level;
  head.split = "train";
  head.positions = head.shard_samples = 5;
  head.made_from = "{}";
  io::PreparedIndex index{head, {}};
  io::ShardWriter writer(folder, 0, head.layout, 5);
  std::vector<float> values(2 * 12 * 20);
  for (std::int64_t p = 0; p < 5; ++p) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = std::round(100 * std::sin(0.1F * static_cast<float>(i)));
    }
    io::SampleRecord record;
    record.position = p;
    record.provenance.file = "a.nc";
    writer.append(io::encode_sample(head.layout, record, values.data(), nullptr));
  }
  index.shards.push_back(writer.commit());
  std::ofstream(folder + "/index.json") << index.to_json();
  if (want_index) return "index.json";
  std::filesystem::directory_entry largest;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (largest.path().empty() || entry.file_size() > largest.file_size()) largest = entry;
  }
  return largest.path().filename();
}

std::vector<float> read_prepared(const std::string& path) {
  io::PreparedOptions options;
  options.path = std::filesystem::path(path).parent_path();
  return values_of(io::PreparedSource(options));
}

// --- tables and lists ----------------------------------------------------------------------------

std::string write_text(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
  return std::filesystem::path(path).filename();
}

std::vector<float> read_labels(const std::string& path) {
  const std::vector<std::int32_t> labels =
      io::labels_from_table(path, {"a/one.tif", "b/two.tif", "c/three.tif"});
  return {labels.begin(), labels.end()};
}

std::vector<float> read_channel_statistics(const std::string& path) {
  std::vector<float> values;
  for (const pipeline::ChannelSummary& channel : pipeline::read_statistics_file(path).channels) {
    for (const double v : {channel.mean, channel.std, channel.count}) {
      values.push_back(static_cast<float>(v));
    }
  }
  return values;
}

}  // namespace

const std::vector<SmallFile>& small_files() {
  using Strings = std::vector<std::string>;
  static const std::vector<SmallFile> files{
      {"GeoTIFF", write_raster("GTiff", "s.tif"), read_raster},
      {"GeoTIFF_deflate",
       write_raster("GTiff", "s.tif",
                    Strings{"COMPRESS=DEFLATE", "PREDICTOR=2", "TILED=YES", "BLOCKXSIZE=16",
                            "BLOCKYSIZE=16"}),
       read_raster},
      {"GeoTIFF_LZW", write_raster("GTiff", "s.tif", Strings{"COMPRESS=LZW"}), read_raster},
      {"GeoTIFF_zstd", write_raster("GTiff", "s.tif", Strings{"COMPRESS=ZSTD"}), read_raster},
      {"GeoTIFF_packbits", write_raster("GTiff", "s.tif", Strings{"COMPRESS=PACKBITS"}, GDT_Byte),
       read_raster},
      {"PNG", write_raster("PNG", "s.png"), read_raster},
      {"JPEG", write_raster("JPEG", "s.jpg", {}, GDT_Byte), read_raster},
      {"JPEG2000", write_raster("JP2OpenJPEG", "s.jp2", {"QUALITY=100", "REVERSIBLE=YES"}),
       read_raster},
      {"ENVI_data", write_raster("ENVI", "s.img"), read_raster},
      {"ENVI_header", with(write_raster("ENVI", "s.img"), "s.hdr"), read_beside("s.img"), false,
       false},
      {"VRT", write_vrt, read_raster},
      {"VRT_source", with(write_vrt, "part.tif"), read_beside("scene.vrt")},
      {"NetCDF_classic",
       [](const std::string& f) { return write_netcdf(f, NC_64BIT_OFFSET, true, false); },
       read_grid},
      {"NetCDF_5",
       [](const std::string& f) { return write_netcdf(f, NC_64BIT_DATA, false, false); },
       read_grid},
      {"NetCDF_4", [](const std::string& f) { return write_netcdf(f, NC_NETCDF4, true, false); },
       read_grid},
      {"NetCDF_4_fletcher32",
       [](const std::string& f) { return write_netcdf(f, NC_NETCDF4, true, true); }, read_grid},
      {"GRIB", first_messages, read_grid},
      {"HDF5", [](const std::string& f) { return write_cube(f, false); }, read_cube},
      {"HDF5_fletcher32", [](const std::string& f) { return write_cube(f, true); }, read_cube},
      {"prepared", [](const std::string& f) { return write_prepared(f, 0, false); }, read_prepared,
       true},
      {"prepared_zstd", [](const std::string& f) { return write_prepared(f, 3, false); },
       read_prepared, true},
      {"prepared_index", [](const std::string& f) { return write_prepared(f, 0, true); },
       read_prepared},
      {"labels",
       [](const std::string& f) {
         return write_text(f + "/l.csv", "path,label\none.tif,3\ntwo.tif,1\nc/three.tif,0\n");
       },
       read_labels},
      {"statistics",
       [](const std::string& f) {
         return write_text(f + "/s.json",
                           "{\"channels\": {\"t2m\": {\"mean\": 281.5, \"std\": 12.25}, "
                           "\"z_500\": {\"mean\": 54000, \"std\": 3000}}}\n");
       },
       read_channel_statistics},
      {"real_EnMAP", real("hyperspectral/enmap_potsdam_tile_128_0_224band.h5"), read_cube},
      {"real_Sentinel2",
       real("satellite/landsat_sentinel/S2A2A_20190723_022_Barbellino_BOA_10.tif"), read_raster},
      {"real_JPEG2000", real("satellite/gdal_jp2/int16_lossless.jp2"), read_raster},
      {"real_COG", real("satellite/geotiff_variants/cog_rgb_mask.tif"), read_raster},
      {"real_constants", real("era5/weatherbench_constants_5.625deg.nc"), read_grid},
  };
  return files;
}

}  // namespace trib::test
