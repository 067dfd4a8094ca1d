use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, TensorProto};

use crate::LowerError;

/// A constant of the graph, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    F32(Vec<f32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    I32(Vec<i32>),
    I64(Vec<i64>),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }
}

impl Constant {
    /// Reads an initializer; none for element types that no lowered operator takes and for data outside the file.
    ///
    /// # Errors
    /// [`LowerError::Initializer`] if the data do not fill the shape, or do not fit their type.
    pub(crate) fn read(proto: &TensorProto) -> Result<Option<Self>, LowerError> {
        if !Self::check(proto)? {
            return Ok(None);
        }
        let raw = (!proto.raw_data.is_empty()).then_some(proto.raw_data.as_slice());
        let data = match DataType::try_from(proto.data_type) {
            Ok(DataType::Float) => Data::F32(match raw {
                Some(raw) => words(raw).map(f32::from_le_bytes).collect(),
                None => proto.float_data.clone(),
            }),
            Ok(DataType::Uint8) => Data::U8(match raw {
                Some(raw) => raw.to_vec(),
                None => proto.int32_data.iter().map(|v| *v as u8).collect(),
            }),
            Ok(DataType::Int8) => Data::I8(match raw {
                Some(raw) => raw.iter().map(|v| *v as i8).collect(),
                None => proto.int32_data.iter().map(|v| *v as i8).collect(),
            }),
            Ok(DataType::Int32) => Data::I32(match raw {
                Some(raw) => words(raw).map(i32::from_le_bytes).collect(),
                None => proto.int32_data.clone(),
            }),
            _ => Data::I64(match raw {
                Some(raw) => words(raw).map(i64::from_le_bytes).collect(),
                None => proto.int64_data.clone(),
            }),
        };
        let dims = proto.dims.iter().filter_map(|dim| usize::try_from(*dim).ok()).collect();
        Ok(Some(Self { dims, data }))
    }

    /// Whether [`Self::read`] has something to read, without reading it.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn check(proto: &TensorProto) -> Result<bool, LowerError> {
        let broken = |reason: String| LowerError::Initializer { tensor: proto.name.clone(), reason };
        if !proto.external_data.is_empty() {
            return Ok(false);
        }
        let (width, field) = match DataType::try_from(proto.data_type) {
            Ok(DataType::Float) => (4, proto.float_data.len()),
            Ok(DataType::Uint8 | DataType::Int8) => (1, proto.int32_data.len()),
            Ok(DataType::Int32) => (4, proto.int32_data.len()),
            Ok(DataType::Int64) => (8, proto.int64_data.len()),
            _ => return Ok(false),
        };
        let dims: Option<Vec<usize>> = proto.dims.iter().map(|d| usize::try_from(*d).ok()).collect();
        let dims = dims.ok_or_else(|| broken(format!("its shape is {:?}", proto.dims)))?;
        let count = dims.iter().try_fold(1usize, |a, b| a.checked_mul(*b));
        let (found, cut) = match proto.raw_data.len() {
            0 => (field, 0),
            bytes => (bytes / width, bytes % width),
        };
        if count != Some(found) || cut != 0 {
            return Err(broken(format!("a shape of {dims:?} and {found} values")));
        }
        let fits = |value: &&i32| match DataType::try_from(proto.data_type) {
            Ok(DataType::Uint8) => u8::try_from(**value).is_ok(),
            Ok(DataType::Int8) => i8::try_from(**value).is_ok(),
            _ => true,
        };
        match proto.int32_data.iter().find(|value| !fits(value)) {
            Some(value) if proto.raw_data.is_empty() => {
                Err(broken(format!("the value {value} does not fit its type")))
            }
            _ => Ok(true),
        }
    }

    /// Numbers that a Constant node states without a tensor.
    pub(crate) fn stated(attribute: &AttributeProto) -> Option<Self> {
        let list = |data: Data| Some(Self { dims: vec![data.len()], data });
        let one = |data: Data| Some(Self { dims: Vec::new(), data });
        match attribute.name.as_str() {
            "value_float" => one(Data::F32(vec![attribute.f])),
            "value_floats" => list(Data::F32(attribute.floats.clone())),
            "value_int" => one(Data::I64(vec![attribute.i])),
            "value_ints" => list(Data::I64(attribute.ints.clone())),
            _ => None,
        }
    }

    pub(crate) fn f32(&self) -> Option<&[f32]> {
        if let Data::F32(v) = &self.data { Some(v) } else { None }
    }

    /// Integers of any width.
    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
        Some(match &self.data {
            Data::F32(_) => return None,
            Data::U8(v) => v.iter().map(|v| i64::from(*v)).collect(),
            Data::I8(v) => v.iter().map(|v| i64::from(*v)).collect(),
            Data::I32(v) => v.iter().map(|v| i64::from(*v)).collect(),
            Data::I64(v) => v.clone(),
        })
    }
}

/// Little-endian words.
fn words<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    raw.as_chunks::<N>().0.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proto(data_type: DataType, dims: &[i64], raw: &[u8]) -> TensorProto {
        TensorProto {
            name: "w".into(),
            data_type: data_type as i32,
            dims: dims.to_vec(),
            raw_data: raw.to_vec(),
            ..TensorProto::default()
        }
    }

    #[test]
    fn values_stand_raw_or_in_a_field_of_their_type() {
        let raw = Constant::read(&proto(DataType::Float, &[1, 1], &1.5f32.to_le_bytes())).unwrap().unwrap();
        assert_eq!((raw.dims.as_slice(), raw.f32()), (&[1, 1][..], Some(&[1.5][..])));
        let field = TensorProto { int32_data: vec![-3, 4], ..proto(DataType::Int8, &[2], &[]) };
        assert_eq!(Constant::read(&field).unwrap().unwrap().integers(), Some(vec![-3, 4]));
        let scalar = proto(DataType::Uint8, &[], &[200]);
        assert_eq!(Constant::read(&scalar).unwrap().unwrap().integers(), Some(vec![200]));
        assert_eq!(Constant::read(&proto(DataType::String, &[1], &[])).unwrap(), None);
    }

    #[test]
    fn data_that_do_not_fill_the_shape_are_refused_by_name() {
        for broken in [
            proto(DataType::Float, &[2], &[0; 7]),
            proto(DataType::Int8, &[-1], &[0]),
            proto(DataType::Int8, &[i64::MAX, 4], &[0; 4]),
            proto(DataType::Int64, &[1], &[]),
            proto(DataType::Float, &[1], &[0; 7]),
            TensorProto { int32_data: vec![256], ..proto(DataType::Uint8, &[1], &[]) },
            TensorProto { int32_data: vec![-129], ..proto(DataType::Int8, &[1], &[]) },
        ] {
            let error = Constant::read(&broken).unwrap_err().to_string();
            assert!(error.starts_with("the initializer 'w' is broken: "), "{error}");
        }
    }
}
