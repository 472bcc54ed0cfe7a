//! Traits that a type takes over from another one.

/// Makes a type stand for the resource of another: `delegate_resource!(LeanPod, Pod, 0.metadata)`.
/// The third is where its metadata are; a type parameter stands behind it: `OwnObject<T>, T, metadata; T`.
macro_rules! delegate_resource {
    ($type:ty, $of:ty, $($metadata:tt).+ $(; $kind:ident)?) => {
        impl$(<$kind: kube::Resource>)? kube::Resource for $type {
            type DynamicType = <$of as kube::Resource>::DynamicType;
            type Scope = <$of as kube::Resource>::Scope;

            fn kind(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                <$of as kube::Resource>::kind(dt)
            }

            fn group(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                <$of as kube::Resource>::group(dt)
            }

            fn version(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                <$of as kube::Resource>::version(dt)
            }

            fn plural(dt: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                <$of as kube::Resource>::plural(dt)
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.$($metadata).+
            }

            fn meta_mut(
                &mut self,
            ) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.$($metadata).+
            }
        }
    };
}

/// Gives a type the schema of the one that it is written as: `delegate_schema!(Uid, String)`.
macro_rules! delegate_schema {
    ($type:ty, $of:ty) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$of as schemars::JsonSchema>::schema_name()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$of as schemars::JsonSchema>::json_schema(generator)
            }
        }
    };
}

pub(crate) use delegate_resource;
pub(super) use delegate_schema;
