//! Memory of a GPU for the kernels of this room.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::ops::permute_nchw_to_nhwc;
use burn_cubecl::tensor::CubeTensor;

/// Room for a tensor beside `like`, contiguous.
pub(super) fn empty<const D: usize>(
    like: &CubeTensor,
    shape: [usize; D],
    dtype: DType,
) -> CubeTensor {
    empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        Shape::from(shape),
        dtype,
    )
}

/// `[n, c, h, w]` as contiguous `[n, h, w, c]`: a change of the strides alone where the channels lie side by side already.
pub(super) fn channels_last(images: CubeTensor) -> CubeTensor {
    into_contiguous(permute_nchw_to_nhwc(images))
}
