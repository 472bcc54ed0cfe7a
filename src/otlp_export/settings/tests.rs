use super::*;

/// What these variables mean, and the names of those that are ignored.
fn read(variables: &[(&str, &str)]) -> (Option<Settings>, Vec<&'static str>) {
    let look_up = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let (settings, ignored) = Settings::from_variables(&look_up);
    (settings, ignored.iter().map(|i| i.name).collect())
}

/// The same with an endpoint.
fn read_with(variables: &[(&str, &str)]) -> (Settings, Vec<&'static str>) {
    let mut all = vec![(ENDPOINT, "http://collector:4318")];
    all.extend(variables);
    let (settings, ignored) = read(&all);
    (settings.unwrap(), ignored)
}

/// Names and values of environment variables.
type Variables<'a> = &'a [(&'a str, &'a str)];

#[test]
fn spans_go_to_the_endpoint_of_traces_or_to_its_path_under_the_general_one() {
    let table = [
        (
            ENDPOINT,
            "http://c:4318",
            "http://c:4318/v1/traces",
            "http://c:4318",
        ),
        (
            ENDPOINT,
            " https://c/otlp/ ",
            "https://c/otlp/v1/traces",
            "https://c",
        ),
        (
            TRACES_ENDPOINT,
            "http://c:4318/in",
            "http://c:4318/in",
            "http://c:4318",
        ),
        (
            ENDPOINT,
            "http://u:p@[::1]:1/x",
            "http://u:p@[::1]:1/x/v1/traces",
            "http://[::1]:1",
        ),
    ];
    for (name, url, endpoint, place) in table {
        let (settings, ignored) = read(&[(name, url)]);
        let settings = settings.unwrap();
        assert_eq!(settings.endpoint(), endpoint);
        assert_eq!(settings.place(), place);
        assert!(ignored.is_empty(), "{ignored:?}");
    }
    let (settings, _) = read_with(&[(TRACES_ENDPOINT, "http://other/t")]);
    assert_eq!(settings.endpoint(), "http://other/t");
}

#[test]
fn nothing_is_exported_without_an_endpoint_or_when_it_is_turned_off() {
    let endpoint = (ENDPOINT, "http://c:4318");
    let none: [(Variables<'_>, &[&str]); 6] = [
        (&[], &[]),
        (&[(ENDPOINT, " ")], &[]),
        (&[endpoint, (DISABLED, "TRUE")], &[]),
        (&[endpoint, (EXPORTER, "none")], &[]),
        (&[(ENDPOINT, "collector:4318")], &[ENDPOINT]),
        (
            &[(TRACES_ENDPOINT, "grpc://c:4317"), endpoint],
            &[TRACES_ENDPOINT],
        ),
    ];
    for (variables, ignored) in none {
        let (settings, told) = read(variables);
        assert!(settings.is_none(), "{variables:?}");
        assert_eq!(told, ignored, "{variables:?}");
    }
}

#[test]
fn samplers_have_the_names_of_the_specification() {
    let whole = "ParentBased(AlwaysOn)";
    let table: [(Variables<'_>, &str, &[&str]); 10] = [
        (&[], whole, &[]),
        (&[(SAMPLER, "always_on")], "AlwaysOn", &[]),
        (&[(SAMPLER, "always_off")], "AlwaysOff", &[]),
        (
            &[(SAMPLER, "parentbased_always_off")],
            "ParentBased(AlwaysOff)",
            &[],
        ),
        (
            &[(SAMPLER, "traceidratio"), (SAMPLER_ARG, "0.25")],
            "TraceIdRatioBased(0.25)",
            &[],
        ),
        (&[(SAMPLER, "traceidratio")], "TraceIdRatioBased(1.0)", &[]),
        (
            &[(SAMPLER, "parentbased_traceidratio"), (SAMPLER_ARG, "0")],
            "ParentBased(TraceIdRatioBased(0.0))",
            &[],
        ),
        (
            &[(SAMPLER, "traceidratio"), (SAMPLER_ARG, "2")],
            "TraceIdRatioBased(1.0)",
            &[SAMPLER_ARG],
        ),
        (
            &[(SAMPLER, "traceidratio"), (SAMPLER_ARG, "NaN")],
            "TraceIdRatioBased(1.0)",
            &[SAMPLER_ARG],
        ),
        (&[(SAMPLER, "xray")], whole, &[SAMPLER]),
    ];
    for (variables, sampler, ignored) in table {
        let (settings, told) = read_with(variables);
        assert_eq!(
            format!("{:?}", settings.sampler()),
            sampler,
            "{variables:?}"
        );
        assert_eq!(told, ignored, "{variables:?}");
    }
}

#[test]
fn the_sender_is_graylane_unless_it_is_named() {
    let table: [(&[(&str, &str)], &str); 4] = [
        (&[], "graylane"),
        (&[(SERVICE_NAME, "engine")], "engine"),
        (&[(RESOURCE_ATTRIBUTES, "service.name=a,team=b")], "a"),
        (
            &[(RESOURCE_ATTRIBUTES, "service.name=a"), (SERVICE_NAME, "b")],
            "b",
        ),
    ];
    for (variables, name) in table {
        let (settings, _) = read_with(variables);
        assert_eq!(settings.resource()["service.name"], name, "{variables:?}");
        assert_eq!(
            settings.resource()["service.version"],
            env!("CARGO_PKG_VERSION")
        );
    }
    let (settings, ignored) = read_with(&[(RESOURCE_ATTRIBUTES, "a=1%2C2, b = x y ,,c=d=e")]);
    let resource = settings.resource();
    assert_eq!(
        (&*resource["a"], &*resource["b"], &*resource["c"]),
        ("1,2", "x y", "d=e")
    );
    assert!(ignored.is_empty(), "{ignored:?}");
    for wrong in ["a", "=b", "a=%ff", "a=b,c"] {
        let (settings, ignored) = read_with(&[(RESOURCE_ATTRIBUTES, wrong)]);
        assert_eq!(ignored, [RESOURCE_ATTRIBUTES], "{wrong}");
        assert_eq!(settings.resource().len(), 2, "none of it is taken: {wrong}");
    }
}

#[test]
fn what_cannot_be_read_is_told_without_its_value_and_the_rest_holds() {
    let (settings, ignored) = read_with(&[
        (HEADERS, "authorization=Bearer%20x,tenant=a"),
        (TIMEOUT, "2500"),
        (PROTOCOL, "http/protobuf"),
        (LEVEL, "trace"),
    ]);
    assert_eq!(settings.headers()["authorization"], "Bearer%20x");
    assert_eq!(settings.timeout(), Duration::from_millis(2500));
    assert_eq!(settings.level(), LevelFilter::TRACE);
    assert!(ignored.is_empty(), "{ignored:?}");
    let (settings, ignored) = read_with(&[
        (TRACES_HEADERS, "secret"),
        (TRACES_TIMEOUT, "0"),
        (TRACES_PROTOCOL, "grpc"),
        (LEVEL, "loud"),
    ]);
    assert!(settings.headers().is_empty());
    assert_eq!(settings.timeout(), DEFAULT_TIMEOUT);
    assert_eq!(settings.level(), LevelFilter::DEBUG);
    assert_eq!(
        ignored,
        [TRACES_PROTOCOL, TRACES_HEADERS, TRACES_TIMEOUT, LEVEL]
    );
    let told = IgnoredVariable {
        name: HEADERS,
        expected: "write it so",
    };
    assert_eq!(
        told.to_string(),
        "OTEL_EXPORTER_OTLP_HEADERS is ignored: write it so"
    );
}
