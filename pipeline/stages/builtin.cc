#include "pipeline/stages/builtin.h"

namespace trib::pipeline {

void register_builtin_stages(Registry& registry) {
  register_read_raster(registry);
  register_read_netcdf(registry);
  register_read_cube(registry);
  register_read_prepared(registry);
  register_read_synthetic(registry);
  register_forcings(registry);
  register_regrid(registry);
  register_crop(registry);
  register_augment(registry);
  register_normalize(registry);
  register_batch(registry);
  register_model_stages(registry);
  register_train(registry);
  register_write_raster(registry);
  register_write_tensors(registry);
  register_write_netcdf(registry);
  register_sink(registry);
}

}  // namespace trib::pipeline
