//! Security contexts of pods and containers.

use serde_json::{Value, json};

use super::super::error::FieldError;
use super::as_list;
use super::rules::{Problems, as_text, check_local_path};

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const SYSCTL: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

/// Checks the security context of a pod.
pub(super) fn check_pod_security(spec: &Value, path: &str, problems: &mut Problems) {
    let (context, path) = (&spec["securityContext"], format!("{path}.securityContext"));
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        check_id(&context[field], &format!("{path}.{field}"), problems);
    }
    for (at, group) in as_list(&context["supplementalGroups"]).iter().enumerate() {
        check_id(group, &format!("{path}.supplementalGroups[{at}]"), problems);
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let words = "ShareProcessNamespace and HostPID cannot both be enabled";
        problems.push(FieldError::invalid(
            format!("{path}.shareProcessNamespace"),
            &true.into(),
            words,
        ));
    }
    check_sysctls(
        as_list(&context["sysctls"]),
        &format!("{path}.sysctls"),
        problems,
    );
    check_known(
        &context["fsGroupChangePolicy"],
        &["Always", "OnRootMismatch"],
        &path,
        "fsGroupChangePolicy",
        problems,
    );
    check_seccomp(
        &context["seccompProfile"],
        &format!("{path}.seccompProfile"),
        problems,
    );
    check_app_armor(
        &context["appArmorProfile"],
        &format!("{path}.appArmorProfile"),
        problems,
    );
    check_known(
        &context["supplementalGroupsPolicy"],
        &["Merge", "Strict"],
        &path,
        "supplementalGroupsPolicy",
        problems,
    );
    check_known(
        &context["seLinuxChangePolicy"],
        &["MountOption", "Recursive"],
        &path,
        "seLinuxChangePolicy",
        problems,
    );
}

/// Checks the security context of a container; `own_users`: its pod has its own user namespace.
pub(super) fn check_container_security(
    context: &Value,
    path: &str,
    own_users: bool,
    problems: &mut Problems,
) {
    for field in ["runAsUser", "runAsGroup"] {
        check_id(&context[field], &format!("{path}.{field}"), problems);
    }
    let mount = &context["procMount"];
    check_known(mount, &["Default", "Unmasked"], path, "procMount", problems);
    if mount == "Unmasked" && !own_users {
        let words = "`hostUsers` must be false to use `Unmasked`";
        problems.push(FieldError::invalid(
            format!("{path}.procMount"),
            mount,
            words,
        ));
    }
    check_seccomp(
        &context["seccompProfile"],
        &format!("{path}.seccompProfile"),
        problems,
    );
    if context["allowPrivilegeEscalation"] == false {
        let mut refuse = |words: &str| {
            problems.push(FieldError::invalid(path, &to_internal_form(context), words));
        };
        if context["privileged"] == true {
            refuse("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if as_list(&context["capabilities"]["add"])
            .iter()
            .any(|c| c == "CAP_SYS_ADMIN")
        {
            refuse(
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
    check_app_armor(
        &context["appArmorProfile"],
        &format!("{path}.appArmorProfile"),
        problems,
    );
}

/// Kubernetes' internal form, which its messages show.
fn to_internal_form(context: &Value) -> Value {
    let capabilities = &context["capabilities"];
    let profile = |field: &str| {
        let profile = &context[field];
        let shown =
            json!({"Type": profile["type"], "LocalhostProfile": profile["localhostProfile"]});
        if profile.is_object() {
            shown
        } else {
            Value::Null
        }
    };
    let both = json!({"Add": capabilities["add"], "Drop": capabilities["drop"]});
    json!({
        "Capabilities": if capabilities.is_object() { both } else { Value::Null },
        "Privileged": context["privileged"],
        "SELinuxOptions": context["seLinuxOptions"],
        "WindowsOptions": context["windowsOptions"],
        "RunAsUser": context["runAsUser"],
        "RunAsGroup": context["runAsGroup"],
        "RunAsNonRoot": context["runAsNonRoot"],
        "ReadOnlyRootFilesystem": context["readOnlyRootFilesystem"],
        "AllowPrivilegeEscalation": context["allowPrivilegeEscalation"],
        "ProcMount": context["procMount"],
        "SeccompProfile": profile("seccompProfile"),
        "AppArmorProfile": profile("appArmorProfile"),
    })
}

fn check_known(value: &Value, all: &[&str], path: &str, field: &str, problems: &mut Problems) {
    if value.as_str().is_some_and(|v| !all.contains(&v)) {
        problems.push(FieldError::not_supported(
            format!("{path}.{field}"),
            value,
            all,
        ));
    }
}

/// Checks the id of a user or a group.
fn check_id(id: &Value, path: &str, problems: &mut Problems) {
    if id
        .as_i64()
        .is_some_and(|n| !(0..=i64::from(i32::MAX)).contains(&n))
    {
        problems.push(FieldError::invalid(
            path,
            id,
            "must be between 0 and 2147483647, inclusive",
        ));
    }
}

fn check_sysctls(sysctls: &[Value], path: &str, problems: &mut Problems) {
    let ends = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|c| ends(*c))
            && bytes.last().is_some_and(|c| ends(*c))
            && bytes.iter().all(|c| ends(*c) || b"-_".contains(c))
    };
    let mut names: Vec<&str> = Vec::new();
    for (at, sysctl) in sysctls.iter().enumerate() {
        let (name, path) = (as_text(&sysctl["name"]), format!("{path}[{at}].name"));
        if name.is_empty() {
            problems.push(FieldError::required(path, ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(part) {
            problems.push(FieldError::invalid(path, &name.into(), SYSCTL));
        } else if names.contains(&name) {
            problems.push(FieldError::duplicate(path, &name.into()));
        }
        names.push(name);
    }
}

fn check_seccomp(profile: &Value, path: &str, problems: &mut Problems) {
    if !profile.is_object() {
        return;
    }
    let local = &profile["localhostProfile"];
    match as_text(&profile["type"]) {
        "" => {
            let words = "type is required when seccompProfile is set";
            problems.push(FieldError::required(format!("{path}.type"), words));
        }
        _ => check_known(&profile["type"], &PROFILES, path, "type", problems),
    }
    let path = format!("{path}.localhostProfile");
    if profile["type"] == "Localhost" {
        if local.is_null() {
            problems.push(FieldError::required(
                path,
                "must be set when seccomp type is Localhost",
            ));
        } else {
            check_local_path(local, &path, false, problems);
        }
    } else if !local.is_null() {
        let shown = json!({"Type": as_text(&profile["type"]), "LocalhostProfile": local});
        problems.push(FieldError::invalid(
            path,
            &shown,
            "can only be set when seccomp type is Localhost",
        ));
    }
}

fn check_app_armor(profile: &Value, path: &str, problems: &mut Problems) {
    if !profile.is_object() {
        return;
    }
    let local = &profile["localhostProfile"];
    let (kind, place) = (format!("{path}.type"), format!("{path}.localhostProfile"));
    match as_text(&profile["type"]) {
        "Localhost" => {
            let name = as_text(local);
            if name.trim().len() != name.len() {
                problems.push(FieldError::invalid(
                    place,
                    local,
                    "must not be padded with whitespace",
                ));
            } else if name.is_empty() {
                problems.push(FieldError::required(
                    place,
                    "must be set when AppArmor type is Localhost",
                ));
            } else if name.len() > 4095 {
                problems.push(FieldError::too_long(place, 4095));
            }
        }
        "RuntimeDefault" | "Unconfined" if !local.is_null() => {
            problems.push(FieldError::invalid(
                place,
                local,
                "can only be set when AppArmor type is Localhost",
            ));
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => problems.push(FieldError::required(
            kind,
            "type is required when appArmorProfile is set",
        )),
        _ => problems.push(FieldError::not_supported(kind, &profile["type"], &PROFILES)),
    }
}
