//! `export`: a trained model in another format.

use std::collections::HashMap;

use super::{CommandError, say_line};
use crate::artifact::{Artifact, write_onnx};
use crate::cli::{ExportArgs, ExportFormat};
use crate::device::Selected;
use crate::model::{state_dict, write_safetensors};

pub fn run(args: &ExportArgs) -> Result<(), CommandError> {
    let format = match (
        args.format,
        args.output.extension().and_then(|e| e.to_str()),
    ) {
        (Some(format), _) => format,
        (None, Some("onnx")) => ExportFormat::Onnx,
        (None, Some("safetensors")) => ExportFormat::Safetensors,
        _ => {
            let output = args.output.display();
            return Err(format!(
                "--output {output}: the ending says no format; use .onnx, .safetensors or --format"
            )
            .into());
        }
    };
    if args.fold_batch_norm && format == ExportFormat::Safetensors {
        return Err("--fold-batch-norm works with ONNX only: safetensors keeps torchvision's tensors as they are".into());
    }
    let artifact = Artifact::load(&args.model, &Selected::cpu().device)?;
    match format {
        ExportFormat::Onnx => write_onnx(
            &args.output,
            &artifact.model,
            &artifact.manifest,
            args.fold_batch_norm,
        )?,
        ExportFormat::Safetensors => {
            let metadata =
                HashMap::from([("classes".to_string(), artifact.manifest.classes_json())]);
            write_safetensors(&args.output, &state_dict(&artifact.model), &metadata)?;
        }
    }
    say_line(format_args!("{}", args.output.display()))?;
    Ok(())
}
