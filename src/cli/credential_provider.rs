//! `wharfinger credential-provider`, and the same as `wharfinger-credential-provider`: the kubelet's image
//! credential provider.

use super::{SUCCESS, fail, say, standard_input};
use crate::clock::Clock;
use crate::workload::{Surroundings, Workload, kubelet};

pub(super) async fn run() -> u8 {
    let clock = Clock::system();
    let request = match standard_input() {
        Ok(request) => request,
        Err(why) => return fail(&why.to_string()),
    };
    let workload = match Workload::find(Surroundings::of_process(), clock.clone()) {
        Ok(workload) => workload,
        Err(why) => return fail(&why.to_string()),
    };
    match kubelet::answer(&request, &workload, clock.now()).await {
        Ok(response) => {
            say(&response.to_string());
            SUCCESS
        }
        Err(why) => fail(&why.to_string()),
    }
}
