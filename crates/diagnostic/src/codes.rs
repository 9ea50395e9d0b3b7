//! Owns the closed list of error codes. `cargo xtask docs` writes one page of the reference from each of them.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// Name, the code as people see it, what it means, and what a user does about it.
macro_rules! codes {
    ($($name:ident = $code:literal, $means:literal, $next:literal;)*) => {
        /// What went wrong, as scripts tell it. A code is never given another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $means] $name,)*
        }

        impl Code {
            /// Every code the suite can raise.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as people see it: `provision::plan::stale`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $code,)*
                }
            }

            /// What it means, one sentence.
            pub const fn means(self) -> &'static str {
                match self {
                    $(Code::$name => $means,)*
                }
            }

            /// What a user does about it, one sentence or more.
            pub const fn next(self) -> &'static str {
                match self {
                    $(Code::$name => $next,)*
                }
            }
        }
    };
}

codes! {
    NickelParse = "nickel::parse", "The text is not valid Nickel.",
        "Mend the syntax at the marked place.";
    NickelTypecheck = "nickel::typecheck", "A statically typed part of the file has a type error.",
        "Make the marked expression match its annotation.";
    NickelImport = "nickel::import", "An imported file cannot be found or read as its format.",
        "Check the path; imports are looked up beside the importing file, then along --import-path, NICKEL_IMPORT_PATH and the built-in schemas.";
    NickelIo = "nickel::io", "A file cannot be read.",
        "Check that the path exists and is readable.";
    NickelEvalContract = "nickel::eval::contract", "A value breaks its contract.",
        "Change the value at the marked place so that it meets the contract.";
    NickelEvalMissingField = "nickel::eval::missing_field", "A required field has no definition, or a field that does not exist is asked for.",
        "Define the field, or give it a default.";
    NickelEvalMerge = "nickel::eval::merge", "Two definitions of one field cannot be merged.",
        "Keep one, or give one `| force` or `| default`.";
    NickelEvalInfiniteRecursion = "nickel::eval::infinite_recursion", "A value is defined by itself.",
        "Break the cycle. The fields of a record see each other: in `{ n = n }` the second `n` is the field itself, so give the outer one another name.";
    NickelEvalType = "nickel::eval::type", "An operation is applied to a value of the wrong type, or evaluation fails in another way.",
        "Check the types of the operands at the marked place.";
    NickelEvalNotSerializable = "nickel::eval::not_serializable", "The result holds a function or another value that is not data.",
        "Apply the function, or mark the field `not_exported`.";
    NickelEvalInexact = "nickel::eval::inexact", "A rational number has no exact decimal form.",
        "Round it in Nickel, or allow it with `--inexact float` or `--inexact string`.";
    NickelEvalLimit = "nickel::eval::limit", "Evaluation was stopped: interrupted, too deep, or too large.",
        "Look for a recursion that does not end.";
    NickelFormat = "nickel::format", "A file is not formatted in the official way.",
        "Run `nickel format --in-place` on it.";
    NickelConfig = "nickel::config", "A setting of the plugin, or a value for a flag, is not valid.",
        "See the settings in docs/nickel.md; they are fields of $env.config.plugins.nickel.";
    PolicyParse = "policy::parse", "The text is not valid Cedar.",
        "Mend the syntax at the marked place.";
    PolicySchema = "policy::schema", "The Cedar schema is not valid.",
        "Mend the schema at the marked place; `policy schema` prints the generated one.";
    PolicyValidate = "policy::validate", "A policy does not fit the schema.",
        "Use a type, action or attribute that the schema has.";
    PolicyEntity = "policy::entity", "The entities are not valid Cedar entities.",
        "Give rows `{uid, attrs, parents}`.";
    PolicyRequest = "policy::request", "A row does not say who wants to do what to which resource.",
        "Give the row a `request` record, columns `principal`, `action`, `resource`, or the flags of the same name.";
    PolicyEvaluate = "policy::evaluate", "A policy could not be evaluated for a request.",
        "Guard the attribute with `has`, or give the request the attribute.";
    PolicySolver = "policy::solver", "The SMT solver is missing or failed.",
        "Install the package `cvc5`.";
    PolicyIo = "policy::io", "A policy file cannot be read.",
        "Check the path given with --policies, --schema or --entities.";
    PolicyTest = "policy::test", "A case was not decided as it expects, and --strict was given.",
        "Change the policy or the case; `policy explain` says why a question is decided as it is.";
    PolicyDenied = "policy::denied", "A request was denied and --strict was given.",
        "See `reasons` for the policies that decided.";
    CommandInput = "provision::command::input", "A command was given something that its input schema does not allow.",
        "Give what the schema of the command says.";
    ConfigNoProject = "provision::config::no_project", "There is no `infra.ncl` here or above.",
        "Go to a project folder, or name one with --project.";
    ConfigInvalid = "provision::config::invalid", "The configuration does not have the expected shape.",
        "Compare with `docs/guide.md`.";
    ConfigExists = "provision::config::exists", "There is a project already, or it cannot be written.",
        "Choose another name or folder.";
    ConfigSetting = "provision::config::setting", "A setting in $env.config.plugins.provision is unknown or has the wrong type.",
        "Correct or remove it.";
    ProviderUnknown = "provision::provider::unknown", "A resource names a provider that is not installed.",
        "See the installed ones; add a manifest under `extensions/providers`.";
    ProviderModule = "provision::provider::module", "A Nushell provider cannot be loaded, or one of its commands failed.",
        "Mend the module at the place that the message gives.";
    ProviderNoNu = "provision::provider::no_nu", "A Nushell provider needs `nu`, and there is none.",
        "Install Nushell, or put it in PATH.";
    ProviderManifest = "provision::provider::manifest", "A provider manifest is not valid.",
        "Mend the manifest at the marked place.";
    ProviderUnknownKey = "provision::provider::unknown_key", "A provider manifest says something that no manifest can say.",
        "Use the suggested name; docs/manifest.md lists them all.";
    ProviderUnknownField = "provision::provider::unknown_field", "A template, step or rule of a manifest names a field that its type does not have.",
        "Use the suggested name, or add the field.";
    ProviderPlaceholder = "provision::provider::placeholder", "A template of a manifest has a placeholder that has no value there.",
        "Use one of those that have one; the message lists them.";
    ProviderNeverCreated = "provision::provider::never_created", "A resource type can never be created: it has no create call, or something required is never sent.",
        "Add the call, or send the field.";
    ProviderNeverChanged = "provision::provider::never_changed", "A field is said to be changed in place, but no step changes it.",
        "Add a step to `update`, or say `on_change = \"replace\"`.";
    ProviderEndless = "provision::provider::endless", "A list would never end, or never go past its first page.",
        "Mend `pagination` as the message says.";
    ProviderUnknownStatus = "provision::provider::unknown_status", "A step waits for a status that the type does not name.",
        "Name it in `status`, or use the suggested word.";
    ProviderErrors = "provision::provider::errors", "A manifest does not say enough about the vendor's errors.",
        "Add the missing rule; an empty list says that the vendor has no such code.";
    ProviderLint = "provision::provider::lint", "A manifest contradicts itself.",
        "Mend it as the message says.";
    ProviderApi = "provision::provider::api", "A manifest needs another engine API.",
        "Use a version of the extension made for this engine.";
    ProviderUntrusted = "provision::provider::untrusted", "Credentials would go to a host they were not configured for, or to an extension in the place of a built-in provider.",
        "Check that it may have them, then give your consent with `provision trust add`.";
    ProviderChanged = "provision::provider::changed", "A provider of the project is not the one that `provision.lock` pins.",
        "Put the pinned version back, or run `provision provider upgrade NAME` to pin what is there.";
    ProviderArchive = "provision::provider::archive", "A provider cannot be added from this folder or archive.",
        "Give a folder or a `.tar.gz` with a `manifest.ncl` or a `mod.nu`.";
    ProviderDigest = "provision::provider::digest", "What is to be added has another digest than was given.",
        "Do not use it before you know why.";
    ProviderInUse = "provision::provider::in_use", "The state holds resources of the provider.",
        "Destroy or forget them first.";
    ProviderNoCatalog = "provision::provider::no_catalog", "The provider's manifest does not say how its catalogue is read.",
        "Add `listings` to the manifest.";
    ProviderNoCloud = "provision::provider::no_cloud", "There is no cloud to test a provider against.",
        "Give `--endpoint URL`, or `--replay DIR`.";
    ProviderTest = "provision::provider::test", "A provider did not pass its contract suite.",
        "Look at the rows whose result is `failed`.";
    ProviderCredential = "provision::provider::credential", "A credential that the provider needs is absent.",
        "Set the named environment variable.";
    ProviderUnauthorized = "provision::provider::unauthorized", "The cloud refused the credential.",
        "Check the named credential; its value is never shown.";
    ProviderRejected = "provision::provider::rejected", "The cloud refused the request.",
        "Read the cloud's message; mend the resource.";
    ProviderQuota = "provision::provider::quota", "The account's quota or the cloud's capacity is used up.",
        "Raise the quota or choose another size or location.";
    ProviderBusy = "provision::provider::busy", "What the cloud was asked for was in use or locked, for minutes.",
        "Run `provision apply` again; where others use what is replaced, set `lifecycle.create_before_destroy`.";
    ProviderUnavailable = "provision::provider::unavailable", "The cloud did not answer or kept failing.",
        "Run `provision apply` again later; nothing is lost.";
    ProviderMalformed = "provision::provider::malformed", "The cloud's answer does not have the documented shape.",
        "Check the endpoint; report the manifest if it is right.";
    PlanShrinks = "provision::plan::shrinks", "A field that can only grow is to become less.",
        "Write what it has or more, or replace the resource.";
    PlanUnknownType = "provision::plan::unknown_type", "A resource names a type the provider does not have.",
        "Use one of the provider's types.";
    PlanUnknownField = "provision::plan::unknown_field", "A resource has a field that its type does not have.",
        "Use the suggested name, or remove the field.";
    PlanType = "provision::plan::type", "A field has a value of the wrong type.",
        "Give a value of the type the field has.";
    PlanValue = "provision::plan::value", "A field has a value that cannot be.",
        "Mend the value as the message says.";
    PlanSecretKey = "provision::plan::secret_key", "A secret is what a resource is known by.",
        "Give it a name that is no secret: its id is told and kept in clear.";
    PlanMissingField = "provision::plan::missing_field", "A required field is missing.",
        "Add the field.";
    PlanUnknownValue = "provision::plan::unknown_value", "A region, size or image is not in the provider's catalogue.",
        "Use a known one, or set `lifecycle.allow_unknown = true`.";
    PlanUnknownReference = "provision::plan::unknown_reference", "A reference names a resource that is not in the configuration.",
        "Use the address of a resource.";
    PlanUnknownAttribute = "provision::plan::unknown_attribute", "A reference names an attribute that the target's type does not have.",
        "Use one of the target's fields.";
    PlanLookup = "provision::plan::lookup", "A look-up is not of its form, or names a kind, a filter or a column that its provider does not have.",
        "Write `p.lookup \"hetzner.image\" { name = \"debian-12\" } \"id\"`; the manifest's `lookups` say what there is.";
    PlanLookupNone = "provision::plan::lookup_none", "Nothing in the cloud is as a look-up describes it.",
        "Compare with `provision provider catalog`, and with the account and the region that were asked.";
    PlanLookupSeveral = "provision::plan::lookup_several", "Several things in the cloud are as a look-up describes them.",
        "Say more of it, or take one of them by `newest = \"COLUMN\"`.";
    PlanCycle = "provision::plan::cycle", "References form a cycle.",
        "Remove one of the references that the message names, or move the value that both need into a resource of its own.";
    PlanDuplicateName = "provision::plan::duplicate_name", "Two resources have a name that the cloud requires to be unique.",
        "Give one of them another name.";
    PlanAddress = "provision::plan::address", "An address is not valid.",
        "Use lower-case letters, digits, `_` and `-`, starting with a letter.";
    PlanTwoOwners = "provision::plan::two_owners", "A sub-item is owned inline and by a resource of its own.",
        "Keep one of the two.";
    PlanTampered = "provision::plan::tampered", "A plan row was changed by hand.",
        "Change the configuration and plan again.";
    PlanFile = "provision::plan::file", "A plan file cannot be written, read, or is not for this state.",
        "Plan again.";
    PlanPrecondition = "provision::plan::precondition", "A precondition does not hold, or cannot be evaluated.",
        "Mend the configuration so that the condition holds.";
    ApplyPostcondition = "provision::apply::postcondition", "A postcondition does not hold, or cannot be evaluated: what it speaks of was done.",
        "Mend what the condition speaks of, then apply again.";
    ConfigEnvironment = "provision::config::environment", "The configuration has no such environment.",
        "Use one that it has.";
    PlanStray = "provision::plan::stray", "A resource that carries this state's mark is not in the state, and may be what is about to be created.",
        "Plan again, and adopt it with the plan's row or with `provision import`.";
    PlanStale = "provision::plan::stale", "The ground of a plan row has moved since it was planned.",
        "Plan again.";
    PlanMissingDependency = "provision::plan::missing_dependency", "The rows given leave out one that another needs.",
        "Add the named rows.";
    PlanUnknownPlan = "provision::plan::unknown_plan", "The plan of the rows is not known to this state.",
        "Plan again in this project.";
    PlanTarget = "provision::plan::target", "--target or --exclude names nothing.",
        "Use an address of the plan.";
    PlanProtected = "provision::plan::protected", "A protected resource would be deleted or replaced.",
        "Run `provision state unprotect ADDRESS` first.";
    PlanSomeoneElses = "provision::plan::someone_elses", "The resource exists and belongs to someone else.",
        "Choose another name, or adopt it.";
    ApplyConsent = "provision::apply::consent", "Nothing was given to apply and --yes is missing.",
        "Pipe plan rows in, or add --yes.";
    ApplyTwoPlans = "provision::apply::two_plans", "A plan file and rows of a plan were given at once.",
        "Give one of them.";
    ApplyDenied = "provision::apply::denied", "A policy forbids a change.",
        "See the policy named; change the infrastructure or the policy.";
    ApplyApproval = "provision::apply::approval", "A change waits for an approval, or an approval cannot be given, used or taken back.",
        "Have the plan approved with `provision approve PLAN`; `provision approvals` lists what was given.";
    ApplyNoPolicies = "provision::apply::no_policies", "The project names its policies, or has a folder for them, and there are none in it.",
        "Correct `policies` in infra.ncl, or write the policies there.";
    ApplyPolicyError = "provision::apply::policy_error", "A policy could not be evaluated, so the change is refused.",
        "Mend the policy at the marked place.";
    ApplyPolicyChanged = "provision::apply::policy_changed", "The policies changed since the last apply.",
        "Review and accept them with `provision policy accept`.";
    ApplyIncomplete = "provision::apply::incomplete", "Some operations failed, are in doubt or were not started.",
        "Run again what was begun, as the message says; what is done stays done.";
    InternalPanic = "provision::internal::panic", "A part of the program, or a provider written in Rust, panicked.",
        "Report it with what standard error shows; run the same command again, open operations are settled first.";
    StateIo = "provision::state::io", "The state cannot be read or written.",
        "Check the folder's permissions and free space.";
    StateVersion = "provision::state::version", "The state was written by a newer version.",
        "Update nu-provision.";
    StateOlder = "provision::state::older", "The state is older than the head of its audit log shows, or the head is gone or another one.",
        "Put the newest state back with its audit.head; or run `provision recover`, which writes into the log what is gone: the next plan adopts what the clouds hold.";
    StateProject = "provision::state::project", "The state belongs to another project.",
        "Check PROVISION_STATE, --project and the `name` in infra.ncl; after a rename, run `provision state adopt-project`.";
    StateForged = "provision::state::forged", "A row of the state that decides something was not written by who has its key.",
        "Run `provision audit verify`, and put back a state that is whole.";
    StateCorrupt = "provision::state::corrupt", "The state is damaged, and its history has no good copy of the damaged part.",
        "Run `provision state restore` to go back to the newest good backup.";
    StateUnreachable = "provision::state::unreachable", "The database of the state does not answer.",
        "Check its address and that it runs, then run the command again: open operations are settled first.";
    StateInsecure = "provision::state::insecure", "The connection to the state's database would not be encrypted, or the server's certificate or name is not the right one.",
        "Give the certificate of its authority with `sslrootcert=/PATH.pem` in PROVISION_STATE.";
    StateMalformed = "provision::state::malformed", "What was given to import is no exported state.",
        "Give what `provision state export` gave.";
    StateNotEmpty = "provision::state::not_empty", "A state is imported where there is one already.",
        "Import into a new `.provision` folder or database schema.";
    StateNoBackup = "provision::state::no_backup", "There is no good backup to go back to.",
        "Name one with --from, or begin anew and adopt what is there with `provision import`.";
    StateUnknownSerial = "provision::state::unknown_serial", "The history has no change of this number.",
        "See `provision history`; the oldest changes are not kept.";
    AuditHead = "provision::audit::head", "What was given is no head of an audit log.",
        "Give what `provision audit head` gave.";
    AuditBroken = "provision::audit::broken", "The audit log was altered, put in another order, or cut.",
        "Compare it with an exported copy; the file audit.head has the newest signed entry.";
    LeaseReason = "provision::lease::reason", "A lease is to be broken without a reason.",
        "Give one with --reason.";
    LeaseFree = "provision::lease::free", "Nobody holds the lease that is to be broken.",
        "Run the command you wanted to run.";
    StateUnknownAddress = "provision::state::unknown_address", "No resource has this address.",
        "See `provision state list`.";
    TrustUnknown = "provision::trust::unknown", "What is to be trusted, or not any more, is not there.",
        "See `provision trust list`, and check the name or the path.";
    TrustKind = "provision::trust::kind", "It is not said what is to be trusted.",
        "Say `host URL --provider NAME`, `provider NAME` or `import PATH`.";
    LeaseHeld = "provision::lease::held", "Another process holds the state's lease.",
        "Wait for it to finish.";
    LeaseLost = "provision::lease::lost", "The lease was lost while working.",
        "Run `provision apply` again; open operations are settled first.";
    SecretNoIdentity = "provision::secret::no_identity", "There is no identity or passphrase to open secrets with, or it cannot be used.",
        "Run `provision secret init`, or set PROVISION_AGE_IDENTITY or PROVISION_AGE_PASSPHRASE.";
    SecretNotARecipient = "provision::secret::not_a_recipient", "A secret is encrypted for others: no identity or passphrase of yours opens it.",
        "Have your public key added to `secrets/recipients.txt`, and `provision secret rotate` run by somebody who can read it.";
    SecretUnknown = "provision::secret::unknown", "There is no secret of this name, or it has no such field.",
        "See `provision secret list`; write it with `provision secret encrypt NAME`.";
    SecretName = "provision::secret::name", "The name of a secret is not valid.",
        "Use lower-case letters, digits, `_` and `-`, starting with a letter; `/` makes folders.";
    SecretRecipient = "provision::secret::recipient", "A recipient is no public key of age or SSH, or nobody is named who may read a secret.",
        "Give `age1…`, `ssh-ed25519 …` or `ssh-rsa …`; `provision secret init` adds your own.";
    SecretMalformed = "provision::secret::malformed", "There is no ciphertext, it is damaged, or what it holds is no value of ours or too large.",
        "Give what `provision secret encrypt` wrote, whole and unchanged; a secret has 1 MiB at most.";
    SecretSource = "provision::secret::source", "A source of a secret is not of its form, or gave nothing: a file, a program.",
        "Compare with `docs/secrets.md`; run a program by itself to see what it says.";
    SecretEdit = "provision::secret::edit", "A secret was not changed: there is no terminal or editor, or what was left is no new value.",
        "Give a closure that gives the new value.";
    SecretIo = "provision::secret::io", "A file of secrets or identities cannot be read or written.",
        "Check the permissions of the file and of its folder, and the space on the disk.";
    OutputUnknown = "provision::output::unknown", "No output has this name.",
        "See `provision output` for all of them.";
    OutputUnresolved = "provision::output::unresolved", "An output refers to something that is not there yet.",
        "Run `provision apply`.";
    ImportArguments = "provision::import::arguments", "What is to be imported is not said, or is said in two ways.",
        "Give an address, an id and --type for one resource, or --label for all that carry it.";
    ImportAddressTaken = "provision::import::address_taken", "The address of an import is in the state already.",
        "Choose another address; `provision state list` shows those that are taken.";
    ImportAlreadyOurs = "provision::import::already_ours", "What is to be imported is in the state already, under another address.",
        "Use that address.";
    ImportNotFound = "provision::import::not_found", "The cloud has nothing with the id that is to be imported.",
        "Check the id, the account and the region.";
    ImportSomeoneElses = "provision::import::someone_elses", "What is to be imported carries the mark of another state.",
        "Have the other project let go of it first, or take it all the same with --adopt.";
    ImportNotImportable = "provision::import::not_importable", "Resources of this type cannot be read by an id, or not be found by a label.",
        "Declare it in infra.ncl; `provision apply` makes it.";
    GraphFormat = "provision::graph::format", "A graph cannot be written in this format.",
        "Use dot, mermaid or svg.";
    GraphDrawing = "provision::graph::drawing", "A graph is too large for a picture, or could not be laid out.",
        "Use `--format dot` with a program for large graphs.";
    SandboxNotRunning = "provision::sandbox::not_running", "The sandbox is not running.",
        "Start it with `provision sandbox start`.";
    SandboxFailed = "provision::sandbox::failed", "The sandbox could not be started or did not answer.",
        "See the message; check that the port is free.";
}

impl Code {
    /// The code that people see so; `None` for what is none.
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// The code without its last part: what it is about.
    pub fn area(self) -> &'static str {
        self.as_str().rsplit_once("::").map_or("", |(area, _)| area)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.as_str().to_owned()
    }
}

impl JsonSchema for Code {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        schemars::json_schema!({"type": "string", "enum": all})
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
        let text = String::deserialize(deserializer)?;
        Code::parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is no code of the suite")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        for (at, code) in Code::ALL.iter().enumerate() {
            assert!(code.as_str().split("::").count() >= 2, "{code}");
            assert!(Code::ALL[at + 1..].iter().all(|other| other.as_str() != code.as_str()), "{code} twice");
            assert!(code.means().ends_with('.') && code.next().ends_with('.'));
            assert_eq!(Code::parse(code.as_str()), Some(*code));
        }
        assert_eq!(Code::parse("provision::plan"), None);
        assert_eq!(Code::PlanStale.area(), "provision::plan");
    }
}
